package ssmgw

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// What EC2 Instance Connect takes (its API reference, SendSSHPublicKey).
var (
	instances = regexp.MustCompile(`^i-[a-f0-9]+$`)
	users     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?$`)
	keys      = regexp.MustCompile(`^(ssh-rsa|ssh-ed25519) `)
)

// sendKey is SendSSHPublicKey.
func (g *Gateway) sendKey(w http.ResponseWriter, k PushedKey) {
	known := len(g.Nodes) == 0 || slices.ContainsFunc(g.Nodes, func(n Node) bool { return n.ID == k.Instance })
	switch {
	case !instances.MatchString(k.Instance) || !users.MatchString(k.User) || !keys.MatchString(k.Key):
		refuse(w, "InvalidArgsException", "One of the parameters is not valid.")
		return
	case !known:
		refuse(w, "EC2InstanceNotFoundException", "The specified instance was not found.")
		return
	}
	g.mu.Lock()
	g.pushed = append(g.pushed, k)
	g.mu.Unlock()
	if g.Authorize != nil {
		g.Authorize(k.User, k.Key)
	}
	reply(w, map[string]any{"RequestId": "r", "Success": true})
}

// command is one of SendCommand's.
type command struct {
	node, script string
	asked        int // how often, guarded by the gateway's mu as all below
	done         bool
	stderr       string
	status       int
}

// sendCommand is SendCommand of AWS-RunShellScript.
func (g *Gateway) sendCommand(w http.ResponseWriter, body []byte) {
	var in struct {
		DocumentName string
		InstanceIDs  []string `json:"InstanceIds"`
		Parameters   map[string][]string
		Comment      string
	}
	if json.Unmarshal(body, &in) != nil || in.DocumentName != "AWS-RunShellScript" || len(in.InstanceIDs) != 1 || len(in.Comment) > 100 {
		refuse(w, "InvalidDocument", in.DocumentName)
		return
	}
	c := &command{node: in.InstanceIDs[0], script: strings.Join(in.Parameters["commands"], "\n")}
	if strings.Contains(c.script, "{{") {
		refuse(w, "InvalidParameters", "SSM would replace what stands in braces")
		return
	}
	if !g.reachable(c.node) {
		refuse(w, "InvalidInstanceId", "Instances [["+c.node+"]] not in a valid state for account 123456789012")
		return
	}
	g.mu.Lock()
	g.commands = append(g.commands, c)
	id := len(g.commands)
	g.mu.Unlock()
	if g.Run != nil {
		g.running.Go(func() {
			stderr, status := g.Run(c.script)
			g.mu.Lock()
			defer g.mu.Unlock()
			c.done, c.stderr, c.status = true, stderr, status
		})
	}
	reply(w, map[string]any{"Command": map[string]any{"CommandId": commandID(id)}})
}

func commandID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// invocation is GetCommandInvocation. A new command is not known to it at first.
func (g *Gateway) invocation(w http.ResponseWriter, body []byte) {
	var in struct {
		CommandID  string `json:"CommandId"`
		InstanceID string `json:"InstanceId"`
	}
	json.Unmarshal(body, &in)
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.commands, func(c *command) bool { return c.node == in.InstanceID })
	for i >= 0 && i < len(g.commands) && commandID(i+1) != in.CommandID {
		i++
	}
	if i < 0 || i == len(g.commands) || g.commands[i].asked == 0 {
		if i >= 0 && i < len(g.commands) {
			g.commands[i].asked++
		}
		refuse(w, "InvocationDoesNotExist", "")
		return
	}
	c := g.commands[i]
	out := map[string]any{"Status": "InProgress", "StatusDetails": "InProgress", "ResponseCode": -1, "StandardErrorContent": ""}
	switch {
	case c.done && c.status == 0:
		out["Status"], out["StatusDetails"], out["ResponseCode"] = "Success", "Success", 0
	case c.done:
		out["Status"], out["StatusDetails"], out["ResponseCode"], out["StandardErrorContent"] = "Failed", "Failed", c.status, c.stderr
	case g.Run == nil:
		out["Status"], out["StatusDetails"] = "TimedOut", "Undeliverable"
	}
	reply(w, out)
}

// Commands are the scripts of each SendCommand.
func (g *Gateway) Commands() (scripts []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.commands {
		scripts = append(scripts, c.script)
	}
	return scripts
}

// resources is GetResources of the Resource Groups Tagging API, two pages of it.
func (g *Gateway) resources(w http.ResponseWriter, token string) {
	var list []any
	for i, n := range g.Nodes {
		if len(n.Tags) == 0 || (token == "") != (i%2 == 0) {
			continue
		}
		arn := "arn:aws:ec2:eu-central-1:123456789012:instance/" + n.ID
		if strings.HasPrefix(n.ID, "mi-") {
			arn = "arn:aws:ssm:eu-central-1:123456789012:managed-instance/" + n.ID
		}
		var tags []any
		for k, v := range n.Tags {
			tags = append(tags, map[string]string{"Key": k, "Value": v})
		}
		list = append(list, map[string]any{"ResourceARN": arn, "Tags": tags})
	}
	next := ""
	if token == "" {
		next = "more"
	}
	reply(w, map[string]any{"ResourceTagMappingList": list, "PaginationToken": next})
}
