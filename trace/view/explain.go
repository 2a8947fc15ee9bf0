package view

import "github.com/adit-ssh/adit/trace"

// meaning is what a message or an event is for, and where that is written.
type meaning struct{ what, where string }

// Explain returns what an entry means, in a sentence, and the section that says
// so; both are empty for what is not known.
func Explain(e *trace.Entry) (what, where string) {
	name := e.Event
	if e.Dir != "" {
		name = e.Message
		for _, of := range [...]string{"channel_type", "request_name", "request_type", "method_name", "payload_type", "extension_type"} {
			if m, ok := meanings[name+" "+e.Text(of)]; ok {
				return m.what, m.where
			}
		}
	}
	m := meanings[name]
	return m.what, m.where
}

// meanings has the messages by name, and by name and type where a type has a
// meaning of its own, and the events.
var meanings = map[string]meaning{
	"DISCONNECT":      {"The sender ends the connection and says why; nothing comes behind it.", "RFC 4253, 11.1"},
	"IGNORE":          {"To be ignored: it hides how much is really said, or keeps the line alive.", "RFC 4253, 11.2"},
	"UNIMPLEMENTED":   {"The sender does not know the message with that sequence number.", "RFC 4253, 11.4"},
	"DEBUG":           {"A remark for whoever looks for faults; it changes nothing.", "RFC 4253, 11.3"},
	"SERVICE_REQUEST": {"The client asks for a service: first ssh-userauth, to log in.", "RFC 4253, 10"},
	"SERVICE_ACCEPT":  {"The server offers that service.", "RFC 4253, 10"},
	"EXT_INFO":        {"The sender names extensions that it knows, such as signature algorithms.", "RFC 8308, 2.3"},
	"KEXINIT":         {"The sender's algorithms, best first. In each list the first of the client's that the server has too is taken.", "RFC 4253, 7.1"},
	"NEWKEYS":         {"From the next packet on, the sender uses the new keys.", "RFC 4253, 7.3"},
	"NEWCOMPRESS":     {"From the next packet on, the sender compresses as was agreed on anew.", "RFC 8308, 3.2"},
	"KEX_ECDH_INIT":   {"The client's public share of the key exchange. With Diffie-Hellman it is called KEXDH_INIT.", "RFC 5656, 4; RFC 8731; RFC 4253, 8"},
	"KEX_ECDH_REPLY":  {"The server's host key, its share, and its signature of the whole exchange: the proof that it has the key. With Diffie-Hellman it is called KEXDH_REPLY.", "RFC 5656, 4; RFC 8731; RFC 4253, 8"},

	"KEX_DH_GEX_REQUEST": {"The client says how large a group it wants for Diffie-Hellman.", "RFC 4419, 3"},
	"KEX_DH_GEX_GROUP":   {"The server's group: a prime and a generator.", "RFC 4419, 3"},
	"KEX_DH_GEX_INIT":    {"The client's public share of the key exchange.", "RFC 4419, 3"},
	"KEX_DH_GEX_REPLY":   {"The server's host key, its share, and its signature of the whole exchange.", "RFC 4419, 3"},

	"USERAUTH_REQUEST":                                     {"The client tries to log in by a method.", "RFC 4252, 5"},
	"USERAUTH_REQUEST none":                                {"The client asks which methods there are.", "RFC 4252, 5.2"},
	"USERAUTH_REQUEST password":                            {"The client logs in with a password, which is not recorded.", "RFC 4252, 8"},
	"USERAUTH_REQUEST publickey":                           {"The client offers a key, or logs in with its signature.", "RFC 4252, 7"},
	"USERAUTH_REQUEST publickey-hostbound-v00@openssh.com": {"The client logs in with a signature that also names the server's host key.", "OpenSSH PROTOCOL, 3.1"},
	"USERAUTH_REQUEST keyboard-interactive":                {"The client is ready for the server's questions.", "RFC 4256, 3.1"},
	"USERAUTH_FAILURE":                                     {"Not logged in, or not yet: these methods may go on.", "RFC 4252, 5.1"},
	"USERAUTH_SUCCESS":                                     {"Logged in. From now on there are channels.", "RFC 4252, 5.1"},
	"USERAUTH_BANNER":                                      {"A text of the server for the person who logs in.", "RFC 4252, 5.4"},
	"USERAUTH_PK_OK":                                       {"The server would take that key: it waits for a signature.", "RFC 4252, 7"},
	"USERAUTH_PASSWD_CHANGEREQ":                            {"The password has expired: the server wants a new one.", "RFC 4252, 8"},
	"USERAUTH_INFO_REQUEST":                                {"The server's questions.", "RFC 4256, 3.2"},
	"USERAUTH_INFO_RESPONSE":                               {"The answers, which are not recorded.", "RFC 4256, 3.4"},

	"GLOBAL_REQUEST":                                        {"A request about the whole connection.", "RFC 4254, 4"},
	"GLOBAL_REQUEST tcpip-forward":                          {"The client asks the server to listen for it (-R).", "RFC 4254, 7.1"},
	"GLOBAL_REQUEST cancel-tcpip-forward":                   {"The client asks the server to stop listening.", "RFC 4254, 7.1"},
	"GLOBAL_REQUEST hostkeys-00@openssh.com":                {"The server tells all its host keys.", "OpenSSH PROTOCOL, 2.5"},
	"GLOBAL_REQUEST hostkeys-prove-00@openssh.com":          {"The client wants proof of host keys that it does not know yet.", "OpenSSH PROTOCOL, 2.5"},
	"GLOBAL_REQUEST no-more-sessions@openssh.com":           {"The client will open no more sessions.", "OpenSSH PROTOCOL, 2.2"},
	"GLOBAL_REQUEST keepalive@openssh.com":                  {"Is anybody there? Any answer will do.", "ssh_config(5), ServerAliveInterval"},
	"GLOBAL_REQUEST streamlocal-forward@openssh.com":        {"The client asks the server to listen on a unix socket (-R).", "OpenSSH PROTOCOL, 2.4"},
	"GLOBAL_REQUEST cancel-streamlocal-forward@openssh.com": {"The client asks the server to stop listening on a unix socket.", "OpenSSH PROTOCOL, 2.4"},
	"REQUEST_SUCCESS":                                       {"Yes to the oldest request without an answer.", "RFC 4254, 4"},
	"REQUEST_FAILURE":                                       {"No to the oldest request without an answer.", "RFC 4254, 4"},
	"CHANNEL_OPEN":                                          {"The sender opens a channel: its number, how much it takes before it must say more (window), and the largest packet.", "RFC 4254, 5.1"},
	"CHANNEL_OPEN direct-tcpip":                             {"The client asks the server to connect to a host and port (-L, -D, -W, -J): one channel for each connection.", "RFC 4254, 7.2"},
	"CHANNEL_OPEN forwarded-tcpip":                          {"Somebody connected to a port that the server listens on for the client (-R).", "RFC 4254, 7.2"},
	"CHANNEL_OPEN session":                                  {"A channel for a shell, a command or a subsystem.", "RFC 4254, 6.1"},
	"CHANNEL_OPEN direct-streamlocal@openssh.com":           {"The client asks the server to connect to a unix socket.", "OpenSSH PROTOCOL, 2.4"},
	"CHANNEL_OPEN forwarded-streamlocal@openssh.com":        {"Somebody connected to a unix socket that the server listens on for the client.", "OpenSSH PROTOCOL, 2.4"},
	"CHANNEL_OPEN auth-agent@openssh.com":                   {"A program at the server wants to talk to the client's agent (-A).", "RFC 9987, whose name for it is agent-connect"},
	"CHANNEL_OPEN x11":                                      {"A program at the server wants to draw on the client's screen (-X).", "RFC 4254, 6.3.2"},
	"CHANNEL_OPEN tun@openssh.com":                          {"A tunnel for network packets (-w).", "OpenSSH PROTOCOL, 2.3"},
	"CHANNEL_OPEN_CONFIRMATION":                             {"The channel is open; the receiver's number of it, window and packet size. For direct-tcpip the target is connected.", "RFC 4254, 5.1"},
	"CHANNEL_OPEN_FAILURE":                                  {"The channel is refused: 1 forbidden, 2 the target could not be reached, 3 unknown type, 4 too many.", "RFC 4254, 5.1"},
	"CHANNEL_WINDOW_ADJUST":                                 {"The sender takes so many bytes more.", "RFC 4254, 5.2"},
	"CHANNEL_DATA":                                          {"Data; its length comes off the window.", "RFC 4254, 5.2"},
	"CHANNEL_EXTENDED_DATA":                                 {"Data of another stream: type 1 is standard error.", "RFC 4254, 5.2"},
	"CHANNEL_EOF":                                           {"The sender has no more data; the other direction goes on.", "RFC 4254, 5.3"},
	"CHANNEL_CLOSE":                                         {"The sender is done with the channel; it is gone when both have said so.", "RFC 4254, 5.3"},
	"CHANNEL_REQUEST":                                       {"A request about one channel.", "RFC 4254, 5.4"},
	"CHANNEL_REQUEST pty-req":                               {"A terminal, please: its type and size.", "RFC 4254, 6.2"},
	"CHANNEL_REQUEST x11-req":                               {"Programs at the server may draw on the client's screen; the cookie is not recorded.", "RFC 4254, 6.3.1"},
	"CHANNEL_REQUEST auth-agent-req@openssh.com":            {"Programs at the server may use the client's agent (-A).", "RFC 9987, whose name for it is agent-req"},
	"CHANNEL_REQUEST xon-xoff":                              {"Whether the client may do flow control by itself.", "RFC 4254, 6.8"},
	"CHANNEL_REQUEST eow@openssh.com":                       {"The sender wants no more data, though it may send some.", "OpenSSH PROTOCOL, 2.1"},
	"CHANNEL_REQUEST env":                                   {"An environment variable, whose value is not recorded.", "RFC 4254, 6.4"},
	"CHANNEL_REQUEST shell":                                 {"Start the login shell.", "RFC 4254, 6.5"},
	"CHANNEL_REQUEST exec":                                  {"Run a command.", "RFC 4254, 6.5"},
	"CHANNEL_REQUEST subsystem":                             {"Start a subsystem, such as sftp.", "RFC 4254, 6.5"},
	"CHANNEL_REQUEST window-change":                         {"The terminal's size has changed.", "RFC 4254, 6.7"},
	"CHANNEL_REQUEST signal":                                {"A signal for the program.", "RFC 4254, 6.9"},
	"CHANNEL_REQUEST exit-status":                           {"The program has ended with this status.", "RFC 4254, 6.10"},
	"CHANNEL_REQUEST exit-signal":                           {"A signal has ended the program.", "RFC 4254, 6.10"},
	"CHANNEL_SUCCESS":                                       {"Yes to the channel's oldest request without an answer.", "RFC 4254, 5.4"},
	"CHANNEL_FAILURE":                                       {"No to the channel's oldest request without an answer.", "RFC 4254, 5.4"},
	"PING":                                                  {"Is anybody there?", "OpenSSH PROTOCOL, 1.9"},
	"PONG":                                                  {"The answer to PING.", "OpenSSH PROTOCOL, 1.9"},

	"AGENT_FAILURE":                             {"No: the request was refused, or is not known.", "RFC 9987"},
	"AGENT_SUCCESS":                             {"Yes; there is nothing more to say.", "RFC 9987"},
	"AGENTC_REQUEST_IDENTITIES":                 {"Which keys are there?", "RFC 9987"},
	"AGENT_IDENTITIES_ANSWER":                   {"The public keys and their comments. Private keys never leave an agent.", "RFC 9987"},
	"AGENTC_SIGN_REQUEST":                       {"Sign this with that key: to log in, mostly.", "RFC 9987"},
	"AGENT_SIGN_RESPONSE":                       {"The signature.", "RFC 9987"},
	"AGENTC_ADD_IDENTITY":                       {"A private key for the agent to hold; only its public key is recorded.", "RFC 9987, 5.2"},
	"AGENTC_ADD_ID_CONSTRAINED":                 {"The same, with limits: a lifetime, confirmation, destinations.", "RFC 9987, 5.2.7"},
	"AGENTC_REMOVE_IDENTITY":                    {"Forget that key.", "RFC 9987"},
	"AGENTC_REMOVE_ALL_IDENTITIES":              {"Forget all keys.", "RFC 9987"},
	"AGENTC_REMOVE_ALL_RSA_IDENTITIES":          {"Forget all keys of SSH 1; here, all keys.", "OpenSSH, authfd.h"},
	"AGENTC_ADD_SMARTCARD_KEY":                  {"Use the keys of a token; the PIN is not recorded.", "RFC 9987, 5.2"},
	"AGENTC_ADD_SMARTCARD_KEY_CONSTRAINED":      {"The same, with limits.", "RFC 9987, 5.2.7"},
	"AGENTC_REMOVE_SMARTCARD_KEY":               {"Forget the keys of a token; the PIN is not recorded.", "RFC 9987"},
	"AGENTC_LOCK":                               {"Do nothing for anybody until unlocked; the passphrase is not recorded.", "RFC 9987"},
	"AGENTC_UNLOCK":                             {"Go on; the passphrase is not recorded.", "RFC 9987"},
	"AGENTC_EXTENSION":                          {"A request that not every agent knows.", "RFC 9987"},
	"AGENTC_EXTENSION query":                    {"Which extensions does the agent know?", "RFC 9987"},
	"AGENTC_EXTENSION session-bind@openssh.com": {"This connection is for that SSH session, which its host key has signed: to log in there, or for what is forwarded from there.", "OpenSSH PROTOCOL.agent, 1"},
	"AGENT_EXTENSION_FAILURE":                   {"The extension is known, and the request was refused.", "RFC 9987"},
	"AGENT_EXTENSION_RESPONSE":                  {"What the extension answers.", "RFC 9987"},

	"input_stream_data":                     {"A numbered message to the agent at the node, which is sent again until it is acknowledged.", ""},
	"input_stream_data output":              {"Data for the target.", ""},
	"input_stream_data handshake response":  {"How adit fared with what the agent asks for, and the version that it behaves as.", ""},
	"input_stream_data flag":                {"A signal to the agent, such as that the session is to end.", ""},
	"output_stream_data":                    {"A numbered message from the agent at the node, which is sent again until it is acknowledged.", ""},
	"output_stream_data output":             {"Data from the target.", ""},
	"output_stream_data handshake request":  {"The agent's version, and what session it offers. Nothing else may be sent before it is answered.", ""},
	"output_stream_data handshake complete": {"The session may carry data.", ""},
	"output_stream_data flag":               {"A signal from the agent, such as that it can't reach the target.", ""},
	"acknowledge":                           {"The message with that number has come; the sender may forget it.", ""},
	"channel_closed":                        {"The session is over, and why.", ""},
	"pause_publication":                     {"The sender is too fast. adit sends less at a time; AWS's agent sends nothing until it is told to go on.", ""},
	"start_publication":                     {"Go on.", ""},
	"malformed":                             {"What has come is no message of Session Manager.", ""},

	"agent:decision":        {"What the agent makes of the request above.", ""},
	"connection:start":      {"adit begins to connect, or takes a connection.", ""},
	"connection:up":         {"Bytes can go to and fro; SSH begins.", ""},
	"connection:end":        {"The connection is over.", ""},
	"dial:stage":            {"A step on the way to the server.", ""},
	"transport:version":     {"Both sides say which version of SSH, and which program, they are.", "RFC 4253, 4.2"},
	"transport:banner_line": {"A line before the server's version line, which clients skip.", "RFC 4253, 4.2"},
	"transport:negotiated":  {"The algorithms that both KEXINITs agree on.", "RFC 4253, 7.1"},
	"transport:kex_done":    {"Both sides have the same keys, and the server has proved its host key.", "RFC 4253, 8"},
	"transport:compressing": {"What is sent from here on is compressed, as one stream.", "RFC 4253, 6.2"},
	"transport:compressed":  {"What compression has saved, in bytes of messages.", "RFC 4253, 6.2"},
	"userauth:attempt":      {"A try to log in, and its outcome.", "RFC 4252, 5"},
	"mux:channel_opened":    {"A channel is open on both sides.", "RFC 4254, 5.1"},
	"mux:channel_refused":   {"A channel was refused.", "RFC 4254, 5.1"},
	"mux:channel_closed":    {"A channel is gone.", "RFC 4254, 5.3"},
	"forward:event":         {"What happens to a forward, or to a connection through it.", ""},
	"trace:lost":            {"Events are missing here: the disk was slower than the connection.", ""},
}
