package ssmsession

import (
	"fmt"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

// handshakeRequestLocked answers what the agent asks for. What it offers decides
// whether the session is one plain stream or carries smux: the agent goes by the
// version that we say we have.
func (s *Session) handshakeRequestLocked(payload []byte) error {
	if s.state != stateGreeting || s.greeted {
		return nil // once is enough
	}
	if len(payload) > handshakeSize {
		return &ProtocolError{fmt.Errorf("handshake request of %d bytes", len(payload))}
	}
	r, err := ssmwire.ParseHandshakeRequest(payload)
	if err != nil {
		return &ProtocolError{err}
	}
	s.greeted, s.agentVersion = true, r.AgentVersion
	answer := ssmwire.HandshakeResponse{ClientVersion: ssmwire.ClientModern}
	var refusal error
	for _, a := range r.RequestedClientActions {
		result := ssmwire.ActionResult{ActionType: a.ActionType, ActionStatus: ssmwire.ActionSuccess}
		if err := s.actLocked(a); err != nil {
			result.ActionStatus, result.Error = ssmwire.ActionFailed, err.Error()
			if a.ActionType != ssmwire.ActionSessionType && a.ActionType != ssmwire.ActionKMSEncryption {
				result.ActionStatus = ssmwire.ActionUnsupported
			}
			refusal = err
		}
		answer.ProcessedClientActions = append(answer.ProcessedClientActions, result)
	}
	if s.kind.Properties.Type == ssmwire.LocalPortForwarding {
		s.multiplexed = ssmwire.Newer(r.AgentVersion, ssmwire.AgentMultiplexes) && !s.o.Raw
		if !s.multiplexed {
			answer.ClientVersion = ssmwire.ClientRaw
		}
	}
	s.answer = s.out.controlLocked(ssmwire.PayloadHandshakeResponse, answer.Marshal())
	s.wakeWriter()
	s.refusal = refusal
	return nil
}

func (s *Session) actLocked(a ssmwire.Action) (err error) {
	switch a.ActionType {
	case ssmwire.ActionSessionType:
		if s.kind, err = ssmwire.ParseSessionType(a.ActionParameters); err != nil {
			return err
		}
		if s.kind.SessionType != "Port" {
			return fmt.Errorf("the document opens a session of type %q, and adit needs one of type Port", s.kind.SessionType)
		}
		return nil
	case ssmwire.ActionKMSEncryption:
		return errEncrypted
	}
	return fmt.Errorf("the agent asks for %q, which adit does not know", a.ActionType)
}

func (s *Session) handshakeCompleteLocked(payload []byte) error {
	if s.state != stateGreeting || !s.greeted {
		return nil
	}
	if s.refusal != nil {
		return s.refusal // whatever the agent makes of it
	}
	c, err := ssmwire.ParseHandshakeComplete(payload)
	if err != nil {
		return &ProtocolError{err}
	}
	s.customer = c.CustomerMessage
	// Our answer has come, whether or not its ack does. How long this took is all that
	// is known of the network if we send nothing more.
	s.out.ackedLocked(s.answer.sequence, s.now())
	s.state, s.opened = stateOpen, true
	close(s.ready)
	s.wakeWriter()
	s.changed.Broadcast()
	return nil
}
