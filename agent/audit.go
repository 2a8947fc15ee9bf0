package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// AuditFile writes Requests to a file, a line of JSON each, whose fields are those
// of AuditLine. The file is only for its owner, and opened for each line, so that it
// can be moved away. Several programs may write to it.
//
// A line has ASCII only: what else a peer may have put into a comment or a name is
// escaped as \u and four digits. There are no secrets in it: no data that is signed,
// no signatures, no passphrases.
type AuditFile struct {
	Path string
	// Hosts names hosts by their keys. Nil: there are no names in the file.
	Hosts Hosts
}

// AuditLine is a line of an AuditFile. What is empty is left out.
type AuditLine struct {
	Time       string `json:"time"` // RFC 3339 with microseconds, in UTC
	PID        int    `json:"pid,omitempty"`
	UID        int    `json:"uid"` // -1 when the system does not say
	Exe        string `json:"exe,omitempty"`
	Connection uint64 `json:"connection,omitempty"` // counts the agent's, from 1
	Operation  string `json:"operation"`            // list, sign, add, remove, remove all, lock, unlock, extension, connect…
	Extension  string `json:"extension,omitempty"`

	Key     string `json:"key,omitempty"`  // SHA256:…; a certificate has that of its key
	Type    string `json:"type,omitempty"` // ssh-ed25519…
	Comment string `json:"comment,omitempty"`
	Listed  *int   `json:"listed,omitempty"` // how many keys were shown
	Hidden  int    `json:"hidden,omitempty"` // how many were not, since rules hide them

	Via       []AuditHost `json:"via,omitempty"`   // over which the request came, the nearest first
	Host      *AuditHost  `json:"host,omitempty"`  // that it is about
	Signs     string      `json:"signs,omitempty"` // login, sshsig or unknown
	User      string      `json:"user,omitempty"`  // that logs in
	Method    string      `json:"method,omitempty"`
	Namespace string      `json:"namespace,omitempty"` // of an SSHSIG

	// Decision is allowed, refused, or begun: the request is about to change the
	// agent, and another line tells the outcome.
	Decision  string `json:"decision"`
	By        string `json:"by,omitempty"`        // what removed a key when nobody asked: lifetime, SIGUSR1…
	Confirmed bool   `json:"confirmed,omitempty"` // by a person
	Rule      string `json:"rule,omitempty"`      // that decided
	Why       string `json:"why,omitempty"`       // it was refused
}

// AuditHost is a host in an AuditLine.
type AuditHost struct {
	Key   string   `json:"key"`             // SHA256:…
	Names []string `json:"names,omitempty"` // those that known_hosts has
}

// Write appends a line. An error means that it may not be there, or not wholly.
func (f *AuditFile) Write(r Request) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(f.line(r, time.Now())); err != nil {
		return err
	}
	line := ascii(b.Bytes())
	file, err := openAudit(f.Path)
	if err != nil {
		return err
	}
	if torn(file) {
		line = append([]byte{'\n'}, line...)
	}
	_, err = file.Write(line) // at once: others may write, too
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}

// tornAgain is when to look a second time: a line may just be on its way.
const tornAgain = 10 * time.Millisecond

// torn says whether the last line has no end, since whoever wrote it, maybe another
// program, could not: the next must not be lost in it.
func torn(file *os.File) bool {
	endless := func() bool {
		fi, err := file.Stat()
		if err != nil || fi.Size() == 0 {
			return false
		}
		var last [1]byte
		_, err = file.ReadAt(last[:], fi.Size()-1)
		return err == nil && last[0] != '\n'
	}
	if !endless() {
		return false
	}
	<-time.After(tornAgain)
	return endless()
}

// Check opens the file, so that who starts an agent learns early that it can't be
// written.
func (f *AuditFile) Check() error {
	file, err := openAudit(f.Path)
	if err != nil {
		return err
	}
	return file.Close()
}

// PublicAuditError is an audit file that others may read or write.
type PublicAuditError struct {
	Path string
	Mode fs.FileMode
}

func (e *PublicAuditError) Error() string {
	return fmt.Sprintf("others may use %s: its mode is %04o, and 0600 is due", e.Path, e.Mode)
}

// Hint says what to do about it.
func (e *PublicAuditError) Hint() string { return "keep it to yourself with: chmod 600 " + e.Path }

func openAudit(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR|nonblocking, 0o600)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
	case !fi.Mode().IsRegular():
		err = fmt.Errorf("%s: %w", path, errors.New("it is no file"))
	case hasModes && fi.Mode().Perm()&0o077 != 0:
		err = &PublicAuditError{path, fi.Mode().Perm()}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *AuditFile) line(r Request, now time.Time) AuditLine {
	l := AuditLine{
		Time: now.UTC().Format("2006-01-02T15:04:05.000000Z"), PID: r.Peer.PID, UID: r.Peer.UID, Exe: r.Peer.Exe, Connection: r.Connection,
		Operation: r.Operation, Extension: r.Extension, Comment: r.Comment,
		Decision: "allowed", By: r.By, Confirmed: r.Confirmed, Rule: r.Rule,
	}
	switch {
	case r.Begun:
		l.Decision = "begun"
	case r.Err != nil:
		l.Decision, l.Why = "refused", r.Err.Error()
	}
	if rule, ok := errors.AsType[*RuleError](r.Err); ok {
		l.Rule = rule.Rule
	}
	if r.Operation == operation(numRequestKeys) && r.Err == nil {
		l.Listed, l.Hidden = &r.Listed, r.Hidden
	}
	if len(r.Key) > 0 {
		l.Key, l.Type = Fingerprint(r.Key), typeOf(r.Key)
	}
	for _, key := range r.Hops {
		l.Via = append(l.Via, f.host(key))
	}
	if r.Host != nil {
		host := f.host(r.Host)
		l.Host = &host
	}
	if s := r.Signing; s != nil {
		l.Signs, l.User, l.Method, l.Namespace = s.Kind, s.User, s.Method, s.Namespace
	}
	return l
}

func (f *AuditFile) host(key []byte) AuditHost {
	h := AuditHost{Key: Fingerprint(key)}
	if f.Hosts != nil {
		h.Names, _ = f.Hosts.Names(key)
	}
	return h
}

// ascii escapes what is not ASCII, or a control character, in JSON: a terminal or a
// script that shows the file must not obey it.
func ascii(b []byte) []byte {
	var out strings.Builder
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		b = b[n:]
		switch {
		case c < 0x7f:
			out.WriteRune(c)
		case c > 0xffff:
			c -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			fmt.Fprintf(&out, `\u%04x`, c)
		}
	}
	return []byte(out.String())
}
