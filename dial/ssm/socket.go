package ssm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/coder/websocket"

	"github.com/adit-ssh/adit/internal/ssmsession"
)

const (
	// pingEvery and deadAfter keep a WebSocket: the second is how long nothing
	// may come from the gateway.
	pingEvery = 30 * time.Second
	deadAfter = 75 * time.Second
	// pingUnanswered and deadUnanswered are the same for when something was sent
	// since: after a machine has slept or changed its network, a person waits.
	pingUnanswered = 5 * time.Second
	deadUnanswered = 20 * time.Second
	// lookEvery is how often it is looked at.
	lookEvery = 5 * time.Second
	// openTimeout is how long the upgrade may take.
	openTimeout = 30 * time.Second
	// readLimit is the largest message that is read, in bytes.
	readLimit = 1<<20 + 1024
)

// socket is one WebSocket, as a session wants it.
type socket struct {
	// Immutable.
	ws      *websocket.Conn
	batch   *batchConn  // below it, or nil
	blocked func() bool // the session does not read
	born    time.Time
	// Atomic: nanoseconds since born.
	heard atomic.Int64 // when something came
	asked atomic.Int64 // when the first was sent since; 0 is nothing
	// Owned by ReadMessage.
	buf bytes.Buffer

	once   sync.Once
	closed chan struct{}
	alive  sync.WaitGroup
}

// openSocket opens a data channel at a stream URL with a token.
func (s *Service) openSocket(ctx context.Context, stream, token, client string, blocked func() bool) (*socket, error) {
	u, err := s.streamURL(stream)
	if err != nil {
		return nil, err
	}
	header, err := s.signUpgrade(ctx, u)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	batch := new(*batchConn)
	ws, response, err := websocket.Dial(context.WithValue(ctx, batchKey{}, batch), u.String(),
		&websocket.DialOptions{HTTPClient: s.http, HTTPHeader: header, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, upgradeError(u, response, err)
	}
	ws.SetReadLimit(readLimit)
	k := &socket{ws: ws, batch: *batch, blocked: blocked, born: time.Now(), closed: make(chan struct{})}
	open, err := json.Marshal(map[string]string{"MessageSchemaVersion": "1.0", "RequestId": newUUID(), "TokenValue": token,
		"ClientId": client, "ClientVersion": clientVersion})
	if err == nil {
		err = ws.Write(ctx, websocket.MessageText, open)
	}
	if err != nil {
		ws.CloseNow()
		return nil, fmt.Errorf("open the data channel: %w", err)
	}
	k.alive.Go(k.keepAlive)
	return k, nil
}

// signUpgrade signs the request for a WebSocket, as newer plugins do: AWS may
// come to require the permission ssmmessages:OpenDataChannel. A URL that is
// signed already is left alone.
func (s *Service) signUpgrade(ctx context.Context, u *url.URL) (http.Header, error) {
	if q := u.Query(); q.Has("X-Amz-Signature") || q.Has("X-Amz-Algorithm") || s.aws.Credentials == nil {
		return nil, nil
	}
	credentials, err := s.aws.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	plain := *u
	plain.Scheme = "https"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, plain.String(), nil)
	if err != nil {
		return nil, errForeignStream
	}
	nothing := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(nothing[:]), "ssmmessages", s.api.region, s.api.now()); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return request.Header, nil
}

// upgradeError tells what came in place of a WebSocket. The URL stays out of it.
func upgradeError(u *url.URL, response *http.Response, err error) error {
	if response != nil {
		return &upgradeRefused{host: u.Host, status: response.StatusCode}
	}
	// websocket's text has the URL, with its query.
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if e, ok := inner.(*url.Error); ok {
			return fmt.Errorf("connect to %s: %w", u.Host, e.Err)
		}
	}
	return fmt.Errorf("connect to %s: %s", u.Host, strings.ReplaceAll(err.Error(), u.RawQuery, "…"))
}

// upgradeRefused is an HTTP status in place of a WebSocket.
type upgradeRefused struct {
	host   string
	status int
}

func (e *upgradeRefused) Error() string {
	return fmt.Sprintf("%s refuses the data channel: HTTP status %d %s", e.host, e.status, http.StatusText(e.status))
}

// ReadMessage implements ssmsession.Messages.
func (k *socket) ReadMessage() ([]byte, error) {
	for {
		typ, r, err := k.ws.Reader(context.Background())
		if err == nil {
			k.buf.Reset()
			_, err = k.buf.ReadFrom(r)
		}
		if err != nil {
			return nil, closeError(err)
		}
		k.hear()
		if typ == websocket.MessageBinary {
			return k.buf.Bytes(), nil
		}
	}
}

// WriteMessage implements ssmsession.Messages.
func (k *socket) WriteMessage(b []byte) error {
	if k.batch != nil {
		k.batch.hold()
	}
	if k.asked.Load() == 0 {
		k.asked.Store(max(1, int64(time.Since(k.born))))
	}
	return closeError(k.ws.Write(context.Background(), websocket.MessageBinary, b))
}

// Flush implements ssmsession.Messages.
func (k *socket) Flush() error {
	if k.batch != nil {
		return k.batch.release()
	}
	return nil
}

// closeError marks what the session has to know of.
func closeError(err error) error {
	if err != nil && websocket.CloseStatus(err) == websocket.StatusMessageTooBig {
		return fmt.Errorf("%w: %w", ssmsession.ErrTooBig, err)
	}
	return err
}

// Close implements ssmsession.Messages. It does not wait for the gateway.
func (k *socket) Close() error {
	k.once.Do(func() {
		close(k.closed)
		k.ws.CloseNow()
	})
	k.alive.Wait()
	return nil
}

// hear notes that something came.
func (k *socket) hear() {
	k.heard.Store(int64(time.Since(k.born)))
	k.asked.Store(0)
}

// silence is for how long nothing came, and for how long it was due: since
// something was sent. The clock stands still while the machine sleeps.
func (k *socket) silence() (heard, unanswered time.Duration) {
	now := time.Since(k.born)
	if asked := k.asked.Load(); asked != 0 {
		unanswered = now - time.Duration(asked)
	}
	return now - time.Duration(k.heard.Load()), unanswered
}

// keepAlive asks the gateway for signs of life, and gives the WebSocket up
// without them. Its silence says nothing while we do not read.
func (k *socket) keepAlive() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var pings sync.WaitGroup
	defer pings.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var asking atomic.Bool
	for {
		select {
		case <-k.closed:
			return
		case <-ticker.C:
		}
		if k.blocked() {
			k.hear()
			continue
		}
		heard, unanswered := k.silence()
		if heard >= deadAfter || unanswered >= deadUnanswered {
			go k.Close() // which waits for us
			return
		}
		if heard < pingEvery && unanswered < pingUnanswered || !asking.CompareAndSwap(false, true) {
			continue
		}
		pings.Go(func() {
			defer asking.Store(false)
			ctx, cancel := context.WithTimeout(ctx, deadAfter)
			defer cancel()
			if k.ws.Ping(ctx) == nil {
				k.hear()
			}
		})
	}
}

// clientVersion is the plugin's whose behaviour we have.
const clientVersion = "1.2.792.0"

var _ ssmsession.Messages = (*socket)(nil)
