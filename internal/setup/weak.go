package setup

import (
	"strings"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// weakWatch warns of a first key exchange that a quantum computer could break
// (ssh_config: WarnWeakCrypto; the words are OpenSSH's, sshconnect.c,
// warn_nonpq_kex).
type weakWatch struct {
	trace.Tracer // nil: nobody else listens
	o            *Options
}

// Watched is a tracer, nil or not, beside which what a configuration wants to be
// warned of is looked for.
func (o *Options) Watched(t trace.Tracer) trace.Tracer {
	if !o.WarnWeak {
		return t
	}
	return &weakWatch{t, o}
}

// Level implements trace.Tracer.
func (w *weakWatch) Level() trace.Level {
	if w.Tracer == nil {
		return trace.LevelConn
	}
	return max(trace.LevelConn, w.Tracer.Level())
}

// Branch implements trace.Brancher.
func (w *weakWatch) Branch() trace.Tracer { return &weakWatch{trace.Branch(w.Tracer), w.o} }

// Trace implements trace.Tracer.
func (w *weakWatch) Trace(t time.Time, e trace.Event) {
	if trace.Wants(w.Tracer, e.Level()) {
		w.Tracer.Trace(t, e)
	}
	if k, ok := e.(trace.KexDone); ok && k.First && !postQuantum(k.Kex) {
		w.o.say(levelInfo, "** WARNING: connection is not using a post-quantum key exchange algorithm.\n"+
			"** This session may be vulnerable to \"store now, decrypt later\" attacks.\n"+
			"** The server may need to be upgraded. See https://openssh.com/pq.html")
	}
}

func postQuantum(kex string) bool {
	return strings.HasPrefix(kex, "mlkem") || strings.HasPrefix(kex, "sntrup")
}
