package sign

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
	"sluice/hub/pattern"
)

// Format is a form of signed addresses.
type Format uint8

// The forms.
const (
	// Sluice is the form that the package describes.
	Sluice Format = iota
	// Tencent is that of Tencent Cloud: txSecret=md5(SECRET + NAME + txTime)&txTime=HEX, where
	// txTime is when it ends, in seconds since 1970 as eight hexadecimal digits. It signs
	// neither the app nor the role: it wants secrets of its own for each.
	Tencent
	// Aliyun is type A of Alibaba Cloud: auth_key=TIME-RAND-UID-md5("PATH-TIME-RAND-UID-SECRET"),
	// where TIME is ten decimal digits, and PATH what is asked for: /APP/NAME over RTMP,
	// /APP/NAME.flv over HTTP and WebSocket, of a recording its own path. Their servers add the
	// validity that is set for a domain to TIME (Config.AliyunValidity). It signs no role.
	Aliyun
	formats // how many there are
)

var formatNames = [formats]string{"sluice", "tencent", "aliyun"}

// String returns the name of a form.
func (f Format) String() string { return formatNames[f] }

// Formats is a list of forms.
type Formats []Format

// UnmarshalText reads the names of forms, in the grammar of package pattern.
func (f *Formats) UnmarshalText(text []byte) error {
	entries, err := pattern.Entries(string(text))
	if err != nil {
		return err
	}
	var list Formats
	for _, fields := range entries {
		i := -1
		for n, name := range formatNames {
			if len(fields) == 1 && fields[0] == name {
				i = n
			}
		}
		if i < 0 {
			return fmt.Errorf("%q: a form of signed addresses is %s, separated by ;", strings.Join(fields, " "), strings.Join(formatNames[:], ", "))
		}
		list = append(list, Format(i))
	}
	*f = list
	return nil
}

// md5Size is the length of a signature of the others' forms, in hexadecimal digits.
const md5Size = 2 * md5.Size

func md5Hex(parts ...string) string {
	h := md5.New()
	for _, part := range parts {
		h.Write([]byte(part))
	}
	var sum [md5.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0]))
}

// readTencent reads Tencent's form. The digits of the time are taken as they were written, in
// either case, since they were signed so. They are always eight: with fewer or more, a digit
// could be moved between the name of a stream and the time, and what is signed would read the
// same.
func readTencent(a *asked) (shown, error) {
	query := a.client.Query
	if !query.Has("txSecret") {
		return shown{}, errMissing
	}
	sign, ok := once(query, "txSecret")
	expires, okTime := once(query, "txTime")
	if !ok || !okTime {
		return shown{}, errRepeated
	}
	if !isHex(sign, md5Size) {
		return shown{}, errShape
	}
	if !isHex(strings.ToLower(expires), 8) {
		return shown{}, errExpires
	}
	seconds, err := strconv.ParseInt(expires, 16, 64)
	if err != nil {
		return shown{}, errExpires
	}
	return shown{time.Unix(seconds, 0), sign, func(secret []byte) []string {
		return []string{md5Hex(string(secret), a.key.Name, expires)}
	}}, nil
}

// maxField bounds RAND and UID of Aliyun's form, in bytes.
const maxField = 128

// readAliyun reads Aliyun's form.
func readAliyun(a *asked, validity time.Duration) (shown, error) {
	query := a.client.Query
	if !query.Has("auth_key") {
		return shown{}, errMissing
	}
	text, ok := once(query, "auth_key")
	if !ok {
		return shown{}, errRepeated
	}
	if len(text) > 2*maxField+md5Size+maxDecimal {
		return shown{}, errShape
	}
	fields := strings.Split(text, "-")
	if len(fields) != 4 || !isHex(fields[3], md5Size) {
		return shown{}, errShape
	}
	seconds, ok := decimal(fields[0])
	if !ok || len(fields[0]) != 10 {
		return shown{}, errExpires
	}
	signed := "-" + text[:len(text)-md5Size] // -TIME-RAND-UID-
	return shown{time.Unix(seconds, 0).Add(validity), fields[3], func(secret []byte) []string {
		path := aliyunPath(a)
		wanted := []string{md5Hex(path, signed, string(secret))}
		if escaped := (&url.URL{Path: path}).EscapedPath(); escaped != path {
			wanted = append(wanted, md5Hex(escaped, signed, string(secret)))
		}
		return wanted
	}}, nil
}

// aliyunPath returns the path that a client asks for, decoded and without what does not count
// in it, so that no other one reads the same.
func aliyunPath(a *asked) string {
	c := &a.client
	switch {
	case c.Recording != "" && c.Recording != hub.AnyRecording:
		return "/" + strings.TrimLeft(c.Name, "/")
	case c.Protocol == "rtmp":
		return "/" + a.key.String()
	}
	return "/" + a.key.String() + ".flv"
}
