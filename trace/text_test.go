package trace

import (
	"strings"
	"testing"
	"time"
)

func TestTextForward(t *testing.T) {
	for _, tt := range []struct {
		e    Forward
		want string
	}{
		{Forward{What: "listen", Spec: "8080:a:80", Local: "127.0.0.1:8080"}, "forward 8080:a:80: listening on 127.0.0.1:8080"},
		{Forward{What: "listen", Spec: "8080:a:80", Err: "address already in use"}, `forward 8080:a:80: listen: "address already in use"`},
		{Forward{What: "accept", Spec: "1080", Local: "127.0.0.1:1080", Err: "too many open files"}, `forward 1080: accept: "too many open files"`},
		{Forward{What: "refused", Spec: "1080", Originator: "127.0.0.1:5", Err: "SOCKS5:\ncommand 2"}, `forward 1080: refused from 127.0.0.1:5: "SOCKS5:\ncommand 2"`},
		{Forward{What: "open", Spec: "1080", Originator: "127.0.0.1:5", Target: "a:80"}, "forward 1080: open from 127.0.0.1:5 to a:80"},
		{Forward{What: "done", Spec: "1080", Originator: "127.0.0.1:5", Target: "a:80", In: 1, Out: 2}, "forward 1080: 127.0.0.1:5 to a:80 ended, 2 bytes out, 1 in"},
	} {
		var out strings.Builder
		NewText(&out, LevelConn).Trace(time.Now(), tt.e)
		_, got, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
		if got != tt.want {
			t.Errorf("%+v:\n%s\nwant\n%s", tt.e, got, tt.want)
		}
	}
}
