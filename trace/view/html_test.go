package view

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
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

// asked runs a script of ours in a page, which its policy would forbid, in a browser
// that lives until the script calls say, and returns what it says.
func asked(t testing.TB, file string, width, height int, script string) string {
	t.Helper()
	testpeer.Need(t, "chromium")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const say = `const say = (text) => navigator.sendBeacon("/said", String(text));
		const frames = (n) => new Promise((done) => { const next = () => n-- > 0 ? requestAnimationFrame(next) : done(); next(); });
		addEventListener("error", (e) => say("error: " + e.message));
		addEventListener("unhandledrejection", (e) => say("error: " + e.reason));`
	b = bytes.Replace(b, []byte("</body>"), []byte("<script>"+say+`addEventListener("load", async () => {`+script+"});</script></body>"), 1)
	b = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAll(b, nil)
	said := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/said" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Write(b)
			return
		}
		if text, err := io.ReadAll(r.Body); err == nil {
			said <- string(text)
		}
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0",
		"--user-data-dir="+t.TempDir(), fmt.Sprintf("--window-size=%d,%d", width, height), server.URL)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); cmd.Wait() }()
	select {
	case text := <-said:
		return text
	case <-ctx.Done():
		t.Fatalf("the page says nothing\n%s", stderr.String())
		return ""
	}
}

// The page shows the ladder's rows, in their columns; opened, they have their
// fields, and a run has its messages.
func TestPage(t *testing.T) {
	file := drawn(t, whole())
	closed := chromium(t, file, "--dump-dom", "--window-size=1280,900")
	for _, want := range []string{
		"client of me@bastion:22", "90 CHANNEL_OPEN direct-tcpip db.private:5432", "5 × CHANNEL_DATA, 146.5 KiB",
		"connected to db.private:5432", "no connection to 10.0.0.9:1",
	} {
		if !strings.Contains(closed, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(closed, "<dt>") {
		t.Error("fields are there before anybody wants them")
	}
	opened := asked(t, file, 1280, 20000, `
		document.getElementById("all").click();
		await frames(30);
		say(document.querySelector("section").innerHTML);`)
	for want, times := range map[string]int{
		"<dt>initial window size</dt><dd>2097152</dd>": 2, "RFC 4254, 7.2": 2, "<dt>messages</dt><dd>5</dd>": 1, "94 CHANNEL_DATA 29.3 KiB": 5,
	} {
		if n := strings.Count(strings.ReplaceAll(opened, ` class=""`, ""), want); n != times {
			t.Errorf("the open page has %q %d times, want %d", want, n, times)
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
	told := []trace.Field{{Name: attack, Value: attack}, {Name: "keys", Value: []string{attack}}, {Name: "comment", Value: attack},
		{Name: "output", Value: attack}, {Name: "payload_type", Value: attack}, {Name: "flag", Value: attack}, {Name: "extension_type", Value: attack}}
	for _, typ := range []string{attack, "AGENTC_EXTENSION", "channel_closed", "output_stream_data", "acknowledge"} {
		s.event(trace.Message{Protocol: trace.ProtocolAgent, Type: typ, Fields: told})
		s.event(trace.Message{Protocol: trace.ProtocolSSM, Out: true, Type: typ, Fields: told})
	}
	s.event(trace.AgentDecision{Operation: attack, Key: attack, Refused: attack})
	s.event(trace.DialStage{Stage: attack, Address: attack, Err: attack})
	s.event(trace.ConnEnd{Err: attack})
	h := header()
	h.Program = attack + "\u202e"
	var page bytes.Buffer
	if err := NewLadder(h, trace.Entries(s.records)).WriteHTML(&page, fmt.Errorf("%s", attack)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(page.String(), "<script"); n != 2 {
		t.Errorf("%d scripts, want ours and our data", n)
	}
	if strings.ContainsRune(page.String(), '\u202e') {
		t.Error("a name may turn the page's text around")
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

// many is a trace of n messages that do not fold, and then of as many that do.
func many(n int) []trace.Entry {
	s := newStory()
	s.begin("bastion:22")
	for i := range uint32(n / 4) {
		s.open("db.private", 5432, i)
		s.message(false, &wire.ChannelOpenConfirmation{RecipientChannel: i, SenderChannel: i, InitialWindow: 100, MaxPacket: 50})
		s.message(true, &wire.ChannelClose{RecipientChannel: i})
		s.message(false, &wire.ChannelClose{RecipientChannel: i})
	}
	for range n {
		s.message(false, &wire.ChannelData{RecipientChannel: 0, Data: make([]byte, 30000)})
	}
	return trace.Entries(s.records)
}

// 10,000 messages that do not fold open, of which the browser draws those that are
// near, and can be searched; a run of 10,000 unfolds, and its messages are made as
// they come near.
func TestManyMessages(t *testing.T) {
	file := drawn(t, many(10_000))
	began := time.Now()
	said := asked(t, file, 1280, 900, `
		const drawn = () => Array.from(document.querySelectorAll(".r")).filter((r) => r.checkVisibility({ contentVisibilityAuto: true })).length;
		const said = [];
		await frames(5);
		said.push("first " + drawn());
		const run = Array.from(document.querySelectorAll(".run")).at(-1);
		run.open = true;
		await frames(5);
		run.scrollIntoView();
		await frames(10);
		said.push("made " + run.querySelectorAll(".r").length, "height " + run.offsetHeight);
		scrollTo(0, document.body.scrollHeight);
		await frames(10);
		said.push("last " + (drawn() < 1000), "end " + run.querySelector(".inner .g:last-child .r:last-child .m").textContent);
		const f = document.getElementById("find");
		for (f.value of ["disconnect", "db.private originator 53988"]) { // the second: a field's name and value
			document.getElementById("filters").dispatchEvent(new Event("change"));
			said.push("found " + document.getElementById("count").textContent);
		}
		say(said.join("; "));`)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of page, %v in the browser", info.Size(), time.Since(began).Round(time.Millisecond))
	var first, made, height int
	if _, err := fmt.Sscanf(said, "first %d; made %d; height %d", &first, &made, &height); err != nil {
		t.Fatalf("%v: the probe says %q", err, said)
	}
	if first == 0 || first > 200 {
		t.Errorf("%d rows are drawn at first, want those on the screen and near it", first)
	}
	if made == 0 || made > 500 || height < 10_000*20 {
		t.Errorf("the open run has made %d rows and is %d pixels high, want few, and room for all", made, height)
	}
	for _, want := range []string{"last true", "end 0 94 CHANNEL_DATA 29.3 KiB", "found 0 of 125", "found 2500 of 125"} {
		if !strings.Contains(said, want) {
			t.Errorf("the probe says %q, which has no %q", said, want)
		}
	}
}
