package ssmgw

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// AccessKey is the access key that requests must be signed with. Signatures are
// not verified, only that they are there and for which service.
const AccessKey = "AKIDADITTESTS0000000"

// Serve puts the gateway on loopback until the test ends, and returns its URL:
// the endpoint of all services and of the data channels.
func (g *Gateway) Serve(t testing.TB) string {
	t.Helper()
	url, stop, err := g.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return url
}

// Listen is Serve until stop is called.
func (g *Gateway) Listen() (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	url = "http://" + l.Addr().String()
	if g.Certificate != nil {
		url = "https://" + l.Addr().String()
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*g.Certificate}})
	}
	handler := &handler{g: g, base: "ws" + strings.TrimPrefix(url, "http")}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	return url, func() {
		g.Close()
		server.Close()
		<-done
		handler.sockets.Wait()
	}, nil
}

// Env is an environment in which AWS's libraries talk to the gateway at url, and
// to nobody else.
func Env(url, home string) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=eu-central-1",
		"AWS_ENDPOINT_URL_SSM=" + url, "AWS_ENDPOINT_URL_EC2_INSTANCE_CONNECT=" + url,
		"AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API=" + url,
		"AWS_CONFIG_FILE=" + home + "/aws-config", "AWS_SHARED_CREDENTIALS_FILE=" + home + "/aws-credentials",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1",
	}
}

// handler is the gateway's HTTP side.
type handler struct {
	g       *Gateway
	base    string // of stream URLs
	sockets sync.WaitGroup
}

var credential = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=` + AccessKey + `/\d{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request,`)

// signedFor is the service that a request is signed for, "" if it isn't, and the region.
func signedFor(r *http.Request) (service, region string) {
	if m := credential.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return m[2], m[1]
	}
	return "", ""
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, ok := strings.CutPrefix(r.URL.Path, "/v1/data-channel/"); ok && r.Method == http.MethodGet {
		h.sockets.Add(1)
		defer h.sockets.Done()
		h.dataChannel(w, r, id)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	_, action, ok := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if err != nil || !ok {
		http.Error(w, "what?", http.StatusNotFound)
		return
	}
	select {
	case <-time.After(h.g.Latency):
	case <-r.Context().Done():
		return
	}
	h.g.note("%s", action)
	service, verb := "ssm", "ssm:"+action
	switch action {
	case "SendSSHPublicKey":
		service, verb = "ec2-instance-connect", "ec2-instance-connect:"+action
	case "GetResources":
		service, verb = "tagging", "tag:"+action
	}
	signed, region := signedFor(r)
	if signed != service {
		refuse(w, "UnrecognizedClientException", "The security token included in the request is invalid.")
		return
	}
	if slices.Contains(h.g.Deny, verb) {
		refuse(w, "AccessDeniedException", "User: arn:aws:iam::123456789012:user/tester is not authorized to perform: "+verb+
			" on resource: arn:aws:ec2:eu-central-1:123456789012:instance/i-0123456789abcdef0 because no identity-based policy allows the "+verb+" action")
		return
	}
	for _, refusal := range []string{h.g.Refuse[verb], h.g.trouble(verb)} {
		if code, message, ok := strings.Cut(refusal, " "); ok {
			refuse(w, code, message)
			return
		}
	}
	if d := h.g.Slow[verb]; d > 0 {
		w = &slowWriter{w, r.Context(), time.After(d)}
	}
	h.call(w, action, region, body)
}

// slowWriter is an answer that takes its time.
type slowWriter struct {
	http.ResponseWriter
	asked   context.Context // of who asks
	arrival <-chan time.Time
}

func (w *slowWriter) Write(b []byte) (int, error) {
	select {
	case <-w.arrival:
	case <-w.asked.Done():
	}
	return w.ResponseWriter.Write(b)
}

func (h *handler) call(w http.ResponseWriter, action, region string, body []byte) {
	var in struct {
		Target, DocumentName, SessionID, Reason string
		Parameters                              map[string][]string
		InstanceID                              string `json:"InstanceId"`
		InstanceOSUser, SSHPublicKey            string
		Filters                                 []struct {
			Key    string
			Values []string
		}
		NextToken, PaginationToken string
	}
	var alias struct {
		SessionID string `json:"SessionId"`
	}
	if json.Unmarshal(body, &in) != nil || json.Unmarshal(body, &alias) != nil {
		refuse(w, "SerializationException", "")
		return
	}
	switch action {
	case "StartSession":
		if !h.g.reachable(in.Target) {
			refuse(w, "TargetNotConnected", in.Target+" is not connected.")
			return
		}
		id, token, err := h.g.StartSession(in.DocumentName, in.Parameters)
		if err != nil {
			refuse(w, "InvalidDocument", err.Error())
			return
		}
		h.g.mu.Lock()
		h.g.started = append(h.g.started, Start{in.Target, in.DocumentName, region, in.Reason, in.Parameters})
		h.g.mu.Unlock()
		reply(w, map[string]any{"SessionId": id, "TokenValue": token, "StreamUrl": h.streamURL(id)})
	case "ResumeSession":
		token, err := h.g.ResumeSession(alias.SessionID)
		if err != nil {
			refuse(w, "InternalServerError", err.Error())
			return
		}
		reply(w, map[string]any{"SessionId": alias.SessionID, "TokenValue": token, "StreamUrl": h.streamURL(alias.SessionID)})
	case "TerminateSession":
		h.g.TerminateSession(alias.SessionID)
		reply(w, map[string]any{"SessionId": alias.SessionID})
	case "DescribeInstanceInformation":
		var list []any
		for _, n := range h.g.Nodes {
			keep := true
			for _, f := range in.Filters {
				switch key, tag := strings.CutPrefix(f.Key, "tag:"); {
				case tag:
					keep = keep && slices.Contains(f.Values, n.Tags[key])
				case f.Key == "InstanceIds":
					keep = keep && slices.Contains(f.Values, n.ID)
				default:
					refuse(w, "InvalidInstanceInformationFilterValue", f.Key)
					return
				}
			}
			if keep {
				list = append(list, map[string]any{"InstanceId": n.ID, "Name": n.Name, "ComputerName": n.Computer, "IPAddress": n.IP,
					"PingStatus": n.Status, "PlatformName": n.Platform, "AgentVersion": n.Version, "LastPingDateTime": 1.7e9, "PlatformType": "Linux"})
			}
		}
		// Two pages, so that nobody forgets that there are pages.
		half := (len(list) + 1) / 2
		if in.NextToken == "" && half < len(list) {
			reply(w, map[string]any{"InstanceInformationList": list[:half], "NextToken": "more"})
			return
		}
		if in.NextToken != "" {
			list = list[half:]
		}
		reply(w, map[string]any{"InstanceInformationList": list})
	case "SendSSHPublicKey":
		h.g.sendKey(w, PushedKey{in.InstanceID, in.InstanceOSUser, in.SSHPublicKey})
	case "SendCommand":
		h.g.sendCommand(w, body)
	case "GetCommandInvocation":
		h.g.invocation(w, body)
	case "GetResources":
		h.g.resources(w, in.PaginationToken)
	default:
		refuse(w, "UnknownOperationException", action)
	}
}

func (h *handler) streamURL(id string) string {
	return h.base + "/v1/data-channel/" + id + "?role=publish_subscribe&cell-number=AAEc%2Bx%3D"
}

// reachable reports whether a target is Online, if that is known at all.
func (g *Gateway) reachable(target string) bool {
	if len(g.Nodes) == 0 {
		return true
	}
	return slices.ContainsFunc(g.Nodes, func(n Node) bool { return n.ID == target && n.Status == "Online" })
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message})
}

// dataChannel relays between a WebSocket and a Conn.
func (h *handler) dataChannel(w http.ResponseWriter, r *http.Request, id string) {
	if service, _ := signedFor(r); service == "ssmmessages" {
		h.g.note("signed")
	}
	if r.URL.Query().Get("role") != "publish_subscribe" || r.URL.Query().Get("cell-number") != "AAEc+x=" {
		http.Error(w, "the query is not as it was given", http.StatusBadRequest)
		return
	}
	if slices.Contains(h.g.Deny, "ssmmessages:OpenDataChannel") {
		http.Error(w, "not authorized", http.StatusForbidden)
		return
	}
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer socket.CloseNow()
	socket.SetReadLimit(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	typ, first, err := socket.Read(ctx)
	if err != nil || typ != websocket.MessageText {
		return
	}
	c := newConn()
	if err := h.g.attach(id, first, c); err != nil {
		socket.Close(websocket.StatusPolicyViolation, err.Error())
		return
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			b, err := c.ReadMessage()
			if err == nil {
				err = socket.Write(ctx, websocket.MessageBinary, b)
			}
			if err != nil {
				c.mu.Lock()
				why := c.why
				c.mu.Unlock()
				if why != closeNot {
					socket.Close(websocket.StatusCode(why), map[closing]string{closeBye: "Bye", closeTooBig: "too big"}[why])
				}
				cancel()
				return
			}
		}
	})
	for {
		typ, b, err := socket.Read(ctx)
		if err != nil {
			break
		}
		if typ != websocket.MessageBinary {
			h.g.note("a message of type %v", typ)
			continue
		}
		select {
		case c.fromClient <- b:
		case <-c.gone:
		}
	}
	c.close(closeBye)
	writer.Wait()
	c.goroutines.Wait()
}
