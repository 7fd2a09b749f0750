package check

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSaid bounds the words of a server that are repeated, in bytes.
const maxSaid = 200

// printable returns words of others on one line, without what a terminal takes for orders.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, !unicode.IsPrint(r) && r != ' ':
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxSaid {
		cut := maxSaid
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return text
}

// clean returns words of a server without the secrets that it was shown.
func (t *tester) clean(text string) string {
	for _, secret := range []string{t.publishKey, t.watchKey, t.token, t.watchToken, t.streamKey} {
		if secret != "" {
			text = strings.NewReplacer(secret, "…", url.QueryEscape(secret), "…", url.PathEscape(secret), "…").Replace(text)
		}
	}
	return printable(signature.ReplaceAllString(text, "sign=…"))
}

// signature matches the one of a signed address.
var signature = regexp.MustCompile("sign=[0-9a-f]*")

// isPage reports whether an answer is one for people or programs, and no stream.
func isPage(answer *http.Response) bool {
	kind, _, _ := strings.Cut(strings.ToLower(answer.Header.Get("Content-Type")), ";")
	return strings.HasPrefix(kind, "text/") || kind == "application/json"
}

// reasonIn returns what the body of a refusal says: in JSON its reason or error, otherwise its
// first line, if it is not HTML.
func reasonIn(body []byte) string {
	var said struct{ Error, Reason string }
	if json.Unmarshal(body, &said) == nil && said.Error+said.Reason != "" {
		if said.Reason != "" {
			return said.Reason
		}
		return said.Error
	}
	text := strings.TrimSpace(string(body))
	first, _, _ := strings.Cut(text, "\n")
	if strings.HasPrefix(text, "<") {
		return ""
	}
	return first
}
