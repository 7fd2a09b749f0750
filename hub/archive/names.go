package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// A key's folder is DIR/APP/NAME, each segment encoded so that any file system can bear it:
//
//	what                                            becomes
//	control characters, / \ : * ? " < > | %         %XX for each byte, in capitals
//	bytes that are no UTF-8                         %XX
//	a dot at the beginning; one, or a space, at     %2E, %20
//	the end
//	a name that Windows reserves: con, NUL.txt      its first letter is %XX
//	x.flv, x.part, x.idx, x.pin                     x%2Eflv, so that no folder looks like a file
//	nothing at all                                  %_
//	what would then be longer than 255 bytes        the first 237 at the most, %~, and 16
//	                                                digits of the SHA-256 of the whole segment
//
// Nothing else is touched, and no two segments have one encoding. All but the cut ones can
// be decoded; of these the true name stands in the files.

const (
	maxSegment = 255     // bytes of a name, in all file systems that count
	maxDepth   = 128     // segments of a key: more do not fit into hub.MaxKeyLength
	maxKey     = 1 << 10 // bytes of app and name, as in the head of a file

	cutMark      = "%~"
	emptySegment = "%_"
	hashDigits   = 16
	forbidden    = `/\:*?"<>|%`

	pinSuffix = ".pin" // of the empty file that says that ID.flv is pinned

	idLayout = "20060102T150405.000Z"
	maxID    = maxSegment - len(flvfile.PartSuffix)
)

// encodeSegment returns a segment as it stands in the file system.
func encodeSegment(s string) string {
	if s == "" {
		return emptySegment
	}
	first, dot := reserved(s), suffixDot(s)
	var b strings.Builder
	for i, r := range s {
		size := utf8.RuneLen(r)
		bad := r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError))
		if bad {
			size = 1
		}
		switch {
		case bad, unicode.IsControl(r), strings.ContainsRune(forbidden, r),
			i == 0 && (first || r == '.'), i == dot,
			i == len(s)-1 && (r == '.' || r == ' '):
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		default:
			b.WriteString(s[i : i+size])
		}
	}
	if b.Len() <= maxSegment {
		return b.String()
	}
	return cut(b.String()) + cutMark + hash(s)
}

// cut shortens an encoded segment, at the beginning of a character or an escape.
func cut(encoded string) string {
	n := maxSegment - len(cutMark) - hashDigits
	for !utf8.RuneStart(encoded[n]) {
		n--
	}
	if at := strings.LastIndexByte(encoded[n-2:n], '%'); at >= 0 {
		n += at - 2
	}
	return encoded[:n]
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:hashDigits/2])
}

// decodeSegment returns the segment that encodeSegment made this of; ok is false if it
// made it of none, or cut it.
func decodeSegment(encoded string) (s string, ok bool) {
	if encoded == emptySegment {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(encoded); i++ {
		c := encoded[i]
		if c == '%' {
			if i+2 >= len(encoded) {
				return "", false
			}
			n, err := strconv.ParseUint(encoded[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c = byte(n)
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String(), encodeSegment(b.String()) == encoded
}

// reserved reports whether Windows takes a name for a device, with any ending.
func reserved(s string) bool {
	base, _, _ := strings.Cut(s, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, found := strings.CutPrefix(base, "COM")
	if !found {
		port, found = strings.CutPrefix(base, "LPT")
	}
	if !found {
		return false
	}
	switch port {
	case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
		return true
	}
	return false
}

// suffixDot returns where the ending of one of our files begins in s, -1 if it has none.
func suffixDot(s string) int {
	at := strings.LastIndexByte(s, '.')
	if at < 0 {
		return -1
	}
	switch strings.ToLower(s[at:]) {
	case flvfile.Suffix, path.Ext(flvfile.PartSuffix), flvfile.IndexSuffix, pinSuffix:
		return at
	}
	return -1
}

// errKey says that recordings of a stream cannot be kept under its name.
var errKey = errors.New("archive: no folder for such a name")

// folderOf returns the path of a stream's folder, with slashes.
func folderOf(key hub.Key) (string, error) {
	switch {
	case key.App == "" || key.Name == "":
		return "", fmt.Errorf("%w: it lacks an app or a name", errKey)
	case len(key.App)+len(key.Name) > maxKey:
		return "", fmt.Errorf("%w: longer than %d bytes", errKey, maxKey)
	case strings.Count(key.App, "/")+2 > maxDepth:
		return "", fmt.Errorf("%w: more than %d segments", errKey, maxDepth)
	}
	var b strings.Builder
	for segment := range strings.SplitSeq(key.App, "/") {
		b.WriteString(encodeSegment(segment))
		b.WriteByte('/')
	}
	b.WriteString(encodeSegment(key.Name))
	return b.String(), nil
}

// Path returns where the file of a recording that this package wrote stands in the folder, with
// slashes; empty for a stream for which there can be no folder.
func (r Recording) Path() string {
	folder, err := folderOf(r.Key)
	if err != nil {
		return ""
	}
	return folder + "/" + r.ID + flvfile.Suffix
}

// keyOf returns the stream whose folder this is. Folders that were made by hand, with
// names that encodeSegment does not make, count with these; so do those that were cut
// (true is false then), unless a file in them knows better.
func keyOf(folder string) (key hub.Key, known, ok bool) {
	segments := strings.Split(folder, "/")
	if len(segments) < 2 || len(segments) > maxDepth {
		return hub.Key{}, false, false
	}
	known = true
	for i, s := range segments {
		decoded, ok := decodeSegment(s)
		if ok && !(i < len(segments)-1 && strings.Contains(decoded, "/")) {
			segments[i] = decoded
		} else {
			known = false
		}
	}
	last := len(segments) - 1
	return hub.Key{App: strings.Join(segments[:last], "/"), Name: segments[last]}, known, true
}

// newID returns the ID of a recording that begins at a time, the nth of that millisecond.
func newID(begin time.Time, n int) string {
	id := begin.UTC().Format(idLayout)
	if n > 1 {
		id += "-" + strconv.Itoa(n)
	}
	return id
}

// parseID returns what newID made an ID of; ok is false for those of other makers.
func parseID(id string) (begin time.Time, n int, ok bool) {
	stamp, number, numbered := strings.Cut(id, "-")
	n = 1
	if numbered {
		n, _ = strconv.Atoi(number)
	}
	begin, err := time.Parse(idLayout, stamp)
	return begin, n, err == nil && newID(begin, n) == id
}

// listable says why a file cannot be listed under its name, nil if it can.
func listable(id string) error {
	switch {
	case id == "":
		return errors.New("it has no name")
	case id == Latest:
		return fmt.Errorf("%q stands for the newest", Latest)
	case id == hub.AnyRecording:
		return fmt.Errorf("%q stands for all of them", hub.AnyRecording)
	case len(id) > maxID:
		return fmt.Errorf("its name is longer than %d bytes", maxID+len(flvfile.Suffix))
	case !utf8.ValidString(id):
		return errors.New("its name is not UTF-8")
	case strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("its name has control characters")
	}
	return nil
}
