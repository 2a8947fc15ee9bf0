package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// ErrRefused is an agent that answered FAILURE. It never says why.
var ErrRefused = errors.New("agent refused operation")

// LostError is a connection to an agent that ended, or that can't be used any
// more since an answer did not come in time or made no sense. The next question
// takes a new connection.
type LostError struct{ Err error }

func (e *LostError) Error() string {
	if errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF) {
		return "the agent closed the connection"
	}
	return e.Err.Error()
}

// Unwrap returns the reason.
func (e *LostError) Unwrap() error { return e.Err }

// Client asks an agent over one connection: one question at a time, each
// answered before the next is sent, since there are agents that lose what comes
// early. Its methods may be called by several goroutines at once; ctx bounds the
// waiting for the turn and for the answer, and when it ends during the latter,
// the connection ends too.
//
// A refusal is ErrRefused, a connection that is of no use any more a *LostError.
type Client struct {
	conn io.ReadWriteCloser
	turn chan struct{} // holds one token while nobody asks
	lost error         // why nothing can be asked any more; owned by who has the turn
}

// NewClient returns a Client that owns conn.
func NewClient(conn io.ReadWriteCloser) *Client {
	c := &Client{conn: conn, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// Close closes the connection. A question that is under way ends.
func (c *Client) Close() error { return c.conn.Close() }

// ask sends a request and returns the reply: its number and its body.
func (c *Client) ask(ctx context.Context, request []byte) (num byte, body []byte, err error) {
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return 0, nil, context.Cause(ctx)
	}
	if c.lost != nil {
		return 0, nil, c.lost
	}
	if err := ctx.Err(); err != nil {
		return 0, nil, context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	err = writeFrame(c.conn, request)
	var reply []byte
	if err == nil {
		reply, err = readFrame(c.conn)
	}
	if !stop() { // the connection is closed, if not yet then soon
		c.lost = &LostError{context.Cause(ctx)}
		if err != nil {
			return 0, nil, c.lost
		}
	}
	if err != nil {
		c.lost = &LostError{err}
		c.conn.Close()
		return 0, nil, c.lost
	}
	num, body = splitReply(reply)
	return num, body, nil
}

// status asks what is answered by SUCCESS or FAILURE.
func (c *Client) status(ctx context.Context, what string, request []byte) error {
	num, _, err := c.ask(ctx, request)
	if err == nil && num != numSuccess {
		err = c.unexpected(num)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// unexpected is what a reply means that is not the one to a success.
func (c *Client) unexpected(num byte) error {
	switch num {
	case numFailure, numExtensionFailure, numFailureOld, 102: // the last is of ssh.com
		return ErrRefused
	}
	return c.outOfStep(fmt.Errorf("the agent answered with message %d, which is no answer to that", num))
}

// outOfStep gives up a connection on which the next reply could be another
// question's.
func (c *Client) outOfStep(err error) error {
	c.conn.Close()
	return &LostError{err}
}

// Bind tells the agent what the connection is for. It is the first message on a
// connection. Most agents other than OpenSSH's refuse it; that means nothing, and
// some close the connection (see Dialer).
func (c *Client) Bind(ctx context.Context, b Binding) error {
	return c.status(ctx, "bind to the session", b.append(nil))
}

// List returns the keys that the agent has, as far as it shows them here.
func (c *Client) List(ctx context.Context) ([]Identity, error) {
	num, body, err := c.ask(ctx, []byte{numRequestKeys})
	var ids []Identity
	switch {
	case err != nil:
	case num != numKeys:
		err = c.unexpected(num)
	default:
		if ids, err = parseKeys(body); err != nil {
			err = c.outOfStep(fmt.Errorf("malformed list: %w", err))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return ids, nil
}

// Sign has the agent sign data with a key or certificate, in wire form as List
// returned it. flags are FlagRSASHA256 or FlagRSASHA512 for RSA, else 0.
func (c *Client) Sign(ctx context.Context, key, data []byte, flags uint32) (*gossh.Signature, error) {
	num, body, err := c.ask(ctx, (&signRequest{key, data, flags}).append(nil))
	var sig *gossh.Signature
	switch {
	case err != nil:
	case num != numSignature:
		err = c.unexpected(num)
	default:
		p := wire.NewParser(body)
		blob := p.Bytes()
		if err = p.Done(); err == nil {
			sig, err = parseSignature(blob)
		}
		if err != nil {
			err = c.outOfStep(fmt.Errorf("malformed signature: %w", err))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sig, nil
}

// Add gives the agent a key.
func (c *Client) Add(ctx context.Context, k AddedKey) error {
	request, err := k.append(nil)
	if err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	defer clear(request)
	return c.status(ctx, "add key", request)
}

// Remove has the agent forget a key or certificate, in wire form.
func (c *Client) Remove(ctx context.Context, key []byte) error {
	return c.status(ctx, "remove key", wire.AppendString([]byte{numRemove}, key))
}

// RemoveAll has the agent forget all keys.
func (c *Client) RemoveAll(ctx context.Context) error {
	return c.status(ctx, "remove all keys", []byte{numRemoveAll})
}

// Lock has the agent show and use nothing until Unlock with the same passphrase.
func (c *Client) Lock(ctx context.Context, passphrase []byte) error {
	return c.status(ctx, "lock", wire.AppendString([]byte{numLock}, passphrase))
}

// Unlock undoes Lock.
func (c *Client) Unlock(ctx context.Context, passphrase []byte) error {
	return c.status(ctx, "unlock", wire.AppendString([]byte{numUnlock}, passphrase))
}

// Query returns the names of the extensions that the agent has. Agents that do
// not know the question may close the connection: it should not be needed for
// anything else.
func (c *Client) Query(ctx context.Context) ([]string, error) {
	num, body, err := c.ask(ctx, wire.AppendString([]byte{numExtension}, extQuery))
	if err == nil && num != numExtensionReply && num != numSuccess { // the latter is Pageant's
		err = c.unexpected(num)
	}
	var names []string
	if err == nil {
		p := wire.NewParser(body)
		if num == numExtensionReply && p.String() != extQuery && p.Err() == nil {
			err = c.outOfStep(errors.New("the agent answered another question"))
		}
		for p.Len() > 0 && len(names) < wire.MaxNames {
			names = append(names, p.String())
		}
		if p.Err() != nil {
			err = c.outOfStep(fmt.Errorf("malformed list of extensions: %w", p.Err()))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("query extensions: %w", err)
	}
	return names, nil
}

// Signer returns a signer that asks the agent for each signature. It is a
// gossh.AlgorithmSigner. key is as List returned it.
func (c *Client) Signer(key []byte) (*Signer, error) {
	public, err := gossh.ParsePublicKey(key)
	if err != nil {
		return nil, err
	}
	return &Signer{Public: public, Ask: c.Sign}, nil
}

// Signer signs with a key that an agent holds. It is a gossh.AlgorithmSigner,
// and has SignContext for those who may have to wait for a person.
type Signer struct {
	Public gossh.PublicKey // or a certificate
	// Ask has the agent sign; it is Client.Sign, or what gets a connection for it.
	Ask func(ctx context.Context, key, data []byte, flags uint32) (*gossh.Signature, error)
}

// PublicKey implements gossh.Signer.
func (s *Signer) PublicKey() gossh.PublicKey { return s.Public }

// Sign implements gossh.Signer. An RSA key signs with SHA-1 then.
func (s *Signer) Sign(_ io.Reader, data []byte) (*gossh.Signature, error) {
	return s.SignContext(context.Background(), data, "")
}

// SignWithAlgorithm implements gossh.AlgorithmSigner.
func (s *Signer) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	return s.SignContext(context.Background(), data, algorithm)
}

// SignContext asks within ctx. Only RSA keys have a choice of algorithm; whoever
// asked compares the signature's name with what it wants. A certificate is named
// as it is: an agent that holds it for some hosts only signs for no other name.
func (s *Signer) SignContext(ctx context.Context, data []byte, algorithm string) (*gossh.Signature, error) {
	return s.Ask(ctx, s.Public.Marshal(), data, rsaFlags(algorithm))
}

func rsaFlags(algorithm string) uint32 {
	switch algorithm {
	case gossh.KeyAlgoRSASHA256, gossh.CertAlgoRSASHA256v01:
		return FlagRSASHA256
	case gossh.KeyAlgoRSASHA512, gossh.CertAlgoRSASHA512v01:
		return FlagRSASHA512
	}
	return 0
}
