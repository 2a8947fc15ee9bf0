package knownhosts

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// Replace makes keys the only plain ones of a host in a file: lines with others
// go, keys without a line are added at the end (OpenSSH, hostfile.c,
// hostfile_replace_entries). Comments, markers, other hosts, lines that can't be
// read and the file's mode stay as they are; what was before is in file.old. The
// file is replaced at once, and lines that others append meanwhile are kept. A
// file that needs no change is left alone; one that does not exist is an error.
// address is as for DB.Compare.
func Replace(file string, h Host, address string, keys []gossh.PublicKey, hash bool) error {
	if err := replace(file, h.String(), address, keys, hash); err != nil {
		return fmt.Errorf("update known hosts: %w", err)
	}
	return nil
}

func replace(file, name, address string, keys []gossh.PublicKey, hash bool) error {
	// A link stays a link, and what it leads to is replaced.
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	// Else /dev/null would become a file.
	if st, err := os.Stat(file); err != nil {
		return err
	} else if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", file)
	}
	old, err := openLocked(file, os.O_RDONLY, true)
	if err != nil {
		return err
	}
	defer old.Close()
	text, err := readAll(old, file)
	if err != nil {
		return err
	}
	changed, modified := rewrite(text, name, address, keys, hash)
	if !modified {
		return nil
	}
	mode, err := old.Stat()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	_, err = f.Write(changed)
	if err == nil {
		err = adopt(f, mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		backup(file)
		err = os.Rename(f.Name(), file)
	}
	if err == nil {
		// ssh does not lock: what it appended since we read goes to the new file.
		_, err = io.Copy(appender(file), old)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// backup keeps what a file was as FILE.old. To fail at that is no reason to stop,
// as it is none for OpenSSH.
func backup(file string) {
	os.Remove(file + ".old")
	os.Link(file, file+".old")
}

// appender appends to a file that is opened only when there is something.
type appender string

func (a appender) Write(p []byte) (int, error) {
	f, err := os.OpenFile(string(a), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Write(p)
}

// rewrite returns the new content of a file, and whether it is another.
func rewrite(text []byte, name, address string, keys []gossh.PublicKey, hash bool) (content []byte, modified bool) {
	var out bytes.Buffer
	byName, byAddress := make([]bool, len(keys)), make([]bool, len(keys))
	for l := range bytes.Lines(text) {
		e, _ := parseLine(strings.TrimSpace(string(l)))
		if e == nil || e.Marker != "" {
			out.Write(ended(l))
			continue
		}
		n, a := e.matches(name), address != "" && e.matches(address)
		k := slices.IndexFunc(keys, func(k gossh.PublicKey) bool { return same(k, e.Key) })
		switch {
		case !n && !a:
		case k < 0:
			modified = true
			continue
		default:
			byName[k] = byName[k] || n
			byAddress[k] = byAddress[k] || a
		}
		out.Write(ended(l))
	}
	for i, k := range keys {
		if !byName[i] || address != "" && !byAddress[i] {
			out.WriteString(lines(name, address, k, hash))
			modified = true
		}
	}
	return out.Bytes(), modified
}

// ended returns a line with its newline.
func ended(line []byte) []byte {
	if bytes.HasSuffix(line, []byte("\n")) {
		return line
	}
	return append(slices.Clip(line), '\n')
}
