package view

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// chromium runs the browser without a window on a file and returns what it
// writes to standard output.
func chromium(t *testing.T, file string, flags ...string) string {
	t.Helper()
	testpeer.Need(t, "chromium")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=" + t.TempDir()}, flags...)
	cmd := exec.CommandContext(ctx, "chromium", append(args, "file://"+file)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, stderr.String())
	}
	return string(out)
}

// drawn writes a page and returns its path.
func drawn(t *testing.T, entries []trace.Entry) string {
	t.Helper()
	var page bytes.Buffer
	if err := NewLadder(header(), entries).WriteHTML(&page, nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ladder.html")
	if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The page shows the ladder's rows, in their columns, with their fields.
func TestPage(t *testing.T) {
	file := drawn(t, whole())
	dom := chromium(t, file, "--dump-dom", "--window-size=1280,900")
	for _, want := range []string{
		"client of me@bastion:22", "90 CHANNEL_OPEN direct-tcpip db.private:5432", "5 × CHANNEL_DATA, 146.5 KiB",
		"connected to db.private:5432", "no connection to 10.0.0.9:1", "<dt>initial window size</dt><dd>2097152</dd>", "RFC 4254, 7.2",
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, width := range []int{1280, 390} {
		shot := filepath.Join(t.TempDir(), "page.png")
		chromium(t, file, "--screenshot="+shot, fmt.Sprintf("--window-size=%d,1400", width))
		f, err := os.Open(shot)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		colors := map[[3]uint32]bool{}
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				r, g, b, _ := img.At(x, y).RGBA()
				colors[[3]uint32{r, g, b}] = true
			}
		}
		if len(colors) < 20 {
			t.Errorf("%d wide: a picture of %d colours: nothing is drawn", width, len(colors))
		}
	}
}

// The page names no address outside itself.
func TestPageNeedsNoNetwork(t *testing.T) {
	var page bytes.Buffer
	if err := NewLadder(header(), whole()).WriteHTML(&page, nil); err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?i)https?://|\bsrc=|@import|\burl\(`).FindString(page.String()); found != "" {
		t.Errorf("the page has %q", found)
	}
	if !strings.Contains(page.String(), `content="default-src &#39;none&#39;`) {
		t.Error("the page has no policy that forbids it")
	}
}

// Names that would be scripts are text: the title that they would set stays.
func TestHostileNames(t *testing.T) {
	const attack = `</title></script><script>document.title="owned"</script><img src=x onerror='document.title="owned"'>`
	s := newStory()
	s.begin(attack)
	s.event(trace.Version{Local: attack, Peer: attack})
	s.event(trace.AuthAttempt{User: attack, Method: attack, Result: "failure", Err: attack})
	s.open(attack, 1, 0)
	s.message(false, &wire.ChannelOpenFailure{RecipientChannel: 0, Reason: 2, Description: attack})
	s.message(false, &wire.ExtInfo{Extensions: []wire.Extension{{Name: attack, Value: []byte(attack)}}})
	s.message(false, &wire.Disconnect{Description: "--></style>" + attack})
	s.event(trace.Forward{What: "accept", Spec: attack, Local: "x", Originator: attack, Target: attack})
	s.event(trace.ConnEnd{Err: attack})
	h := header()
	h.Program = attack
	var page bytes.Buffer
	if err := NewLadder(h, trace.Entries(s.records)).WriteHTML(&page, fmt.Errorf("%s", attack)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(page.String(), "<script"); n != 1 {
		t.Errorf("%d scripts, want ours alone", n)
	}
	if strings.Contains(page.String(), "<img") {
		t.Error("a name became an element")
	}
	file := filepath.Join(t.TempDir(), "hostile.html")
	if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	dom := chromium(t, file, "--dump-dom")
	title, _, _ := strings.Cut(dom, "</title>")
	_, title, _ = strings.Cut(title, "<title>")
	if !strings.Contains(title, "owned") || strings.TrimSpace(title) == "owned" || !strings.Contains(title, "adit trace: client of") {
		t.Errorf("the title is %q: a name ran as a script", title)
	}
}

// 10,000 messages that do not fold open, with our script run over all of them.
func TestManyMessages(t *testing.T) {
	s := newStory()
	s.begin("bastion:22")
	for i := range uint32(2500) {
		s.open("db.private", 5432, i)
		s.message(false, &wire.ChannelOpenConfirmation{RecipientChannel: i, SenderChannel: i, InitialWindow: 100, MaxPacket: 50})
		s.message(true, &wire.ChannelClose{RecipientChannel: i})
		s.message(false, &wire.ChannelClose{RecipientChannel: i})
	}
	file := drawn(t, trace.Entries(s.records))
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The page searches for a row, as a person would type it, once it has loaded.
	probe := `<script>addEventListener("load",()=>{const f=document.getElementById("find");f.value="DISCONNECT";` +
		`document.getElementById("filters").dispatchEvent(new Event("change"));});</script></body>`
	b = bytes.Replace(b, []byte("</body>"), []byte(probe), 1)
	b = regexp.MustCompile(`script-src &#39;[^"]*&#39;`).ReplaceAll(b, []byte("script-src &#39;unsafe-inline&#39;"))
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	dom := chromium(t, file, "--dump-dom")
	t.Logf("%d bytes of page, %v in the browser", len(b), time.Since(began).Round(time.Millisecond))
	if n := strings.Count(dom, `<details class="r `); n < 12500 {
		t.Errorf("%d rows, want at least 12500", n)
	}
	if !strings.Contains(dom, `role="status">0 of 125`) {
		_, status, _ := strings.Cut(dom, `role="status"`)
		t.Errorf("the filter did not run: status %.60q", status)
	}
}
