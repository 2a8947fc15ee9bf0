package ssmgw

import (
	"encoding/binary"
	"encoding/json"
	"time"
)

// receive takes a message of the client's. It waits while the target does not
// read, as AWS's only reader does.
func (w *worker) receive(b []byte) {
	f, ok := parseFrame(b)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch f.typ {
	case "pause_publication":
		w.paused = true
		return
	case "start_publication", "acknowledge", typeIn:
		if w.paused {
			w.paused = false
			w.changed.Broadcast()
		}
	}
	switch f.typ {
	case "acknowledge":
		w.ackedLocked(f.payload)
	case typeIn:
		w.inputLocked(&f)
	}
}

func (w *worker) ackedLocked(payload []byte) {
	var a ackPayload
	if json.Unmarshal(payload, &a) != nil || a.AcknowledgedMessageType != typeOut {
		return
	}
	m := w.unacked[a.AcknowledgedMessageSequenceNumber]
	if m == nil {
		return
	}
	r := time.Since(m.at)
	w.rttvar = 3*w.rttvar/4 + (w.srtt-r).Abs()/4
	w.srtt = 7*w.srtt/8 + r/8
	delete(w.unacked, a.AcknowledgedMessageSequenceNumber)
	if len(w.unacked) == 0 {
		w.changed.Broadcast()
	}
}

func (w *worker) inputLocked(f *frame) {
	switch {
	case f.sequence < w.expected:
		w.replyLocked(ackFrame(f))
	case f.sequence > w.expected:
		if len(w.ahead) < agentBuffer {
			w.ahead[f.sequence] = *f
			w.replyLocked(ackFrame(f))
		}
	case w.processLocked(f):
		w.expected++
		w.replyLocked(ackFrame(f))
		for {
			early, ok := w.ahead[w.expected]
			if !ok || !w.processLocked(&early) {
				break
			}
			delete(w.ahead, w.expected)
			w.expected++
		}
	}
}

// replyLocked sends without the lock, since that may wait.
func (w *worker) replyLocked(b []byte) {
	w.mu.Unlock()
	w.toClient(b)
	w.mu.Lock()
}

// processLocked acts on a message in its turn. What it can't yet act on is not
// acked, and comes again.
func (w *worker) processLocked(f *frame) bool {
	switch f.kind {
	case kindResponse:
		return w.responseLocked(f.payload)
	case kindFlag:
		return w.flagLocked(f.payload)
	case kindData:
		if w.state < 2 {
			return true // counted, and thrown away
		}
		to := w.target
		if w.mux != nil {
			w.mu.Unlock()
			w.mux.write(f.payload)
			w.mu.Lock()
			return true
		}
		if to == nil {
			w.wanted = true
			w.changed.Broadcast()
			return false
		}
		w.mu.Unlock()
		to.Write(f.payload)
		w.mu.Lock()
	}
	return true
}

func (w *worker) responseLocked(payload []byte) bool {
	var r struct {
		ClientVersion          string
		ProcessedClientActions []struct{ ActionStatus int }
	}
	if w.state != 0 {
		return true
	}
	w.version, w.state = r.ClientVersion, 1
	if err := json.Unmarshal(payload, &r); err != nil {
		w.state = 3
	}
	w.version = r.ClientVersion
	for _, a := range r.ProcessedClientActions {
		if a.ActionStatus != 1 {
			w.state = 3
		}
	}
	w.changed.Broadcast()
	return true
}

func (w *worker) flagLocked(payload []byte) bool {
	if len(payload) != 4 {
		return true
	}
	switch binary.BigEndian.Uint32(payload) {
	case flagDisconnect:
		if w.target != nil {
			w.target.Close()
		}
	case flagTerminate:
		if !newer(w.Version, "2.3.722.0") {
			return true // what is that?
		}
		if w.target != nil {
			w.target.Close()
		}
		if w.mux != nil {
			w.mux.close()
		}
		w.told.Store(true)
		// The ack goes first.
		time.AfterFunc(time.Millisecond, func() {
			w.stop()
			w.look()
		})
	}
	return true
}
