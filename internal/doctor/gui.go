package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// GUIPath is the PATH of a program started from the desktop, as systems set it.
const GUIPath = "/usr/bin:/bin:/usr/sbin:/sbin"

// libsshTokens are those that libssh 0.10 expands in ProxyCommand; another one
// makes ssh_connect fail.
const libsshTokens = "hpruld%"

var tokenPattern = regexp.MustCompile(`%.`)

// checkGUI finds what works at a terminal and would not under a program started
// from the desktop. Many such programs bring libssh.
func (e *exam) checkGUI() {
	e.guiAgent()
	if e.conf.ProxyCommand != "" {
		e.guiCommand()
	}
	if e.conf.ProxyJump != "" {
		e.guiFinding(Warning, "ProxyJump", "ProxyJump "+oneLine(e.conf.ProxyJump),
			"libssh before 0.11 makes a command of it, ssh -W, which needs ssh in the PATH; libraries of Java and Python mostly ignore it",
			"adit connect or a local port (adit ssh -N -L) works under all of them")
	}
	if e.conf.ProxyUseFdpass {
		e.guiFinding(Failed, "ProxyUseFdpass", "ProxyUseFdpass yes", "only OpenSSH on Unix and few others take a descriptor; libssh does not",
			"for such programs: a ProxyCommand that passes bytes, and ProxyUseFdpass no")
	}
	if e.conf.KnownHostsCommand != "" {
		e.guiFinding(Warning, "KnownHostsCommand", "KnownHostsCommand", "libssh does not know it", "have the keys in known_hosts")
	}
	if !slices.ContainsFunc(e.r.Checks, func(c Check) bool { return c.Stage == StageGUI && c.Status != OK }) {
		e.add(Check{Stage: StageGUI, Status: OK, Text: "nothing here needs a terminal, an agent of the shell's, or its PATH"})
	}
}

func (e *exam) guiFinding(s Status, keyword, text, meaning, fix string) {
	c := Check{Stage: StageGUI, Status: s, Text: text, Meaning: meaning, Fix: fix}
	if from := e.from(keyword); from != "" {
		c.Details = []string{"set at " + from}
	}
	e.add(c)
}

// guiAgent: the shell's SSH_AUTH_SOCK is not the desktop's.
func (e *exam) guiAgent() {
	sock := e.o.GUI.AuthSock
	if sock == "" || e.conf.IdentityAgent != "" && e.conf.IdentityAgent != "SSH_AUTH_SOCK" && !strings.HasPrefix(e.conf.IdentityAgent, "$") {
		return
	}
	e.guiFinding(Warning, "IdentityAgent", "SSH_AUTH_SOCK is not set there",
		"the agent of your shell, "+oneLine(sock)+", is not seen, nor are its keys", "name it in ssh_config, if that path stays: IdentityAgent "+oneLine(sock)+". Or name a key's file: IdentityFile")
}

// guiCommand looks at ProxyCommand as libssh runs it.
func (e *exam) guiCommand() {
	command := e.conf.ProxyCommand
	for _, t := range tokenPattern.FindAllString(command, -1) {
		if strings.IndexByte(libsshTokens, t[1]) < 0 {
			e.guiFinding(Failed, "ProxyCommand", "ProxyCommand has "+oneLine(t), "libssh 0.10 does not know this token and stops with \"Couldn't apply options\"", "use %h, %p and %r only")
		}
	}
	all := commands(command)
	if len(all) > 1 && strings.ContainsAny(command, ";&") {
		e.guiFinding(Warning, "ProxyCommand", oneLine("ProxyCommand "+withoutLogins(command)), "it is run behind exec: of several commands only the first one is run", "put them into a script")
	}
	words := all[0]
	for len(words) > 0 && words[0] == "exec" {
		words = words[1:]
	}
	if len(words) == 0 {
		return
	}
	name := words[0]
	if strings.ContainsAny(name, "/~$") {
		return
	}
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	fix := "install it, or write its full path"
	if path := lookIn(e.o.GUI.Path, name); path != "" {
		fix = "write its full path: " + path
	}
	e.guiFinding(Failed, "ProxyCommand", fmt.Sprintf("ProxyCommand runs %s, which is not in the PATH there", oneLine(name)),
		"a program started from the desktop searches "+os.Getenv("PATH")+" only", fix)
}

// lookIn searches a PATH for a program.
func lookIn(path, name string) string {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}
