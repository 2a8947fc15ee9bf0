package trace

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/adit-ssh/adit/internal/wire"
)

// Describe returns a message's fields in the RFCs' words, on one line:
//
//	channel type=direct-tcpip sender channel=3 initial window size=2097152 …
//
// Peer text is quoted, long values are cut, and secrets are not there.
func Describe(m wire.Msg) string { return FieldsText(MessageFields(m, false)) }

// FieldsText returns fields on one line that is safe to print: printable ASCII.
func FieldsText(fs []Field) string {
	var b strings.Builder
	for _, f := range fs {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(NameText(f.Name) + "=" + FieldText(f))
	}
	return b.String()
}

// NameText returns a field's name as people read it, safe to print: words in the
// place of underscores.
func NameText(name string) string {
	switch name {
	case fieldData:
		return "data"
	case fieldTook:
		return "took"
	}
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_') {
			return quote(name) // a peer's name of an extension, or a made-up file
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "_ip_", "_IP_"), "_", " ")
}

// FieldText returns a field's value, safe to print: printable ASCII, quoted
// where it is more than a word, and cut when it is long.
func FieldText(f Field) string {
	switch v := f.Value.(type) {
	case string:
		if f.Name == fieldData {
			if raw, err := base64.StdEncoding.DecodeString(v); err == nil {
				return strconv.QuoteToASCII(cut(string(raw)))
			}
		}
		return quote(v)
	case []string:
		return listText(v)
	case int64:
		if f.Name == fieldTook {
			return strconv.FormatFloat(float64(v)/1000, 'f', 3, 64) + "ms"
		}
	}
	return valueText(f.Value)
}

// maxList is how much of a list is shown, in bytes.
const maxList = 1000

func listText(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		if b.Len() > maxList {
			return b.String() + "..."
		}
		b.WriteString(quote(n))
	}
	return b.String()
}

// valueText is a value as it is, for code that compares it.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case []string:
		return strings.Join(v, ",")
	}
	return fmt.Sprint(v)
}

// maxText is how much of a text is shown, in bytes.
const maxText = 200

func cut(s string) string { return s[:min(len(s), maxText)] }

// quote leaves plain words alone and makes everything else safe to print.
func quote(s string) string {
	more := ""
	if len(s) > maxText {
		s, more = cut(s), "..."
	}
	plain := s != ""
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] > ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\'
	}
	if plain {
		return s + more
	}
	return strconv.QuoteToASCII(s) + more
}
