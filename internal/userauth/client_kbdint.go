package userauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/adit-ssh/adit/internal/wire"
)

// keyboardInteractive lets the server ask questions (RFC 4256).
func (c *client) keyboardInteractive(ctx context.Context) (*Result, error) {
	c.kbdints++
	if err := c.request(ctx, wire.MethodKeyboardInteractive, "", false, (&wire.KbdintBody{}).Append(nil)); err != nil {
		return nil, err
	}
	c.tried(wire.MethodKeyboardInteractive)
	for round := 0; ; round++ {
		p, err := c.read()
		if err != nil {
			return nil, err
		}
		if p[0] != wire.NumUserauthInfoRequest {
			ok, err := c.judged(p)
			if ok && err == nil {
				return &Result{Method: wire.MethodKeyboardInteractive}, nil
			}
			if round == 0 {
				// It was refused without a question: asking again is no use.
				c.dropped = append(c.dropped, wire.MethodKeyboardInteractive)
			}
			return nil, err
		}
		if round == maxRounds {
			return nil, c.breach("keyboard-interactive has more than %d rounds", maxRounds)
		}
		if err := c.answerRound(ctx, p); err != nil {
			return nil, err
		}
	}
}

// answerRound answers one INFO_REQUEST. Rounds without questions are answered
// without asking anybody; their text is shown.
func (c *client) answerRound(ctx context.Context, p []byte) error {
	var m wire.UserauthInfoRequest
	if err := wire.Parse(p, &m); err != nil {
		return c.breach("%v", err)
	}
	var answers []string
	if len(m.Prompts) > 0 || m.Name != "" || m.Instruction != "" {
		var err error
		if answers, err = c.cfg.Answer(ctx, m.Name, m.Instruction, m.Prompts); err != nil {
			// The server waits for answers. Another request would abandon this
			// one (RFC 4252, section 5), but not all servers know that.
			if errors.Is(err, ErrSkip) {
				c.note("%s: %v", wire.MethodKeyboardInteractive, err)
				return err
			}
			return &localError{fmt.Errorf("%s: %w", wire.MethodKeyboardInteractive, err)}
		}
	}
	if len(answers) != len(m.Prompts) {
		return &localError{fmt.Errorf("%s: %d answers to %d questions", wire.MethodKeyboardInteractive, len(answers), len(m.Prompts))}
	}
	size := 5
	for _, a := range answers {
		size += 4 + len(a)
	}
	b := (&wire.UserauthInfoResponse{Answers: answers}).Append(make([]byte, 0, size))
	defer clear(b)
	return c.pc.WritePacket(b, ctx.Done())
}
