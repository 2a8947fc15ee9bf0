package ssm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Node is what Session Manager knows of a managed node. Its texts are the node's
// own and not cleaned.
type Node struct {
	ID           string    `json:"id"` // i-… or mi-…
	Name         string    `json:"name,omitempty"`
	Computer     string    `json:"computer,omitempty"`
	IP           string    `json:"ip,omitempty"`
	Platform     string    `json:"platform,omitempty"`
	AgentVersion string    `json:"agent_version,omitempty"`
	Status       string    `json:"status"` // Online, ConnectionLost, Inactive
	LastPing     time.Time `json:"last_ping,omitzero"`
	// Tags are those that Tags found.
	Tags map[string]string `json:"tags,omitempty"`
}

// Online reports whether the node's agent answers.
func (n *Node) Online() bool { return n.Status == "Online" }

func (n *Node) seen() string {
	if n.LastPing.IsZero() {
		return "never"
	}
	return n.LastPing.UTC().Format("2006-01-02 15:04 MST")
}

// String is the node in one line, printable.
func (n *Node) String() string {
	words := []string{n.ID, cmp.Or(n.Name, n.Computer), n.IP, n.Status}
	return printable(strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
}

// AmbiguousError is a name that several nodes have.
type AmbiguousError struct{ Candidates []Node }

func (e *AmbiguousError) Error() string {
	lines := make([]string, 0, len(e.Candidates))
	for _, n := range e.Candidates {
		lines = append(lines, n.String())
	}
	return fmt.Sprintf("%d nodes have that name: %s", len(lines), strings.Join(lines, "; "))
}

// NotFoundError is a name that no node has.
type NotFoundError struct{ Region string }

func (e *NotFoundError) Error() string {
	return "no managed node in " + e.Region + " has that name, tag or address"
}

// OfflineError is a node whose agent is not connected.
type OfflineError struct{ Node Node }

func (e *OfflineError) Error() string {
	return fmt.Sprintf("the agent of %s is not connected (%s, last seen %s)", printable(e.Node.ID), printable(e.Node.Status), e.Node.seen())
}

// direct are targets that need no looking up. It is made when it is needed, since
// every start of a program pays for what it has ready.
var direct = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(i-[0-9a-f]{8,17}|mi-[0-9a-f]{17}|ecs:[A-Za-z0-9_-]+_[A-Za-z0-9-]+_[A-Za-z0-9-]+)$`)
})

// IsID reports whether a target is a node's id, which means one node and needs no looking
// up: i-…, mi-… or ecs:CLUSTER_TASK_RUNTIME.
func IsID(target string) bool { return direct().MatchString(target) }

// maxNodes is how many nodes are listed at most.
const maxNodes = 10_000

// Nodes lists the managed nodes of the region and account, 10 000 at most. It
// takes the permission ssm:DescribeInstanceInformation.
func (s *Service) Nodes(ctx context.Context) ([]Node, error) {
	nodes, err := s.nodes(ctx)
	return nodes, s.fail("ssm:DescribeInstanceInformation", "", err)
}

func (s *Service) nodes(ctx context.Context, filters ...filter) (nodes []Node, err error) {
	in := &describeInstances{Filters: filters, MaxResults: 50}
	for len(nodes) < maxNodes {
		var page instances
		if err := s.api.call(ctx, "DescribeInstanceInformation", in, &page); err != nil {
			return nil, err
		}
		for _, i := range page.InstanceInformationList {
			n := Node{ID: i.InstanceID, Name: i.Name, Computer: i.ComputerName, IP: i.IPAddress, AgentVersion: i.AgentVersion, Status: i.PingStatus}
			n.Platform = strings.TrimSpace(i.PlatformName + " " + i.PlatformVersion)
			if i.LastPingDateTime > 0 {
				n.LastPing = time.UnixMilli(int64(i.LastPingDateTime * 1000))
			}
			nodes = append(nodes, n)
		}
		if page.NextToken == "" || page.NextToken == in.NextToken {
			break
		}
		in.NextToken = page.NextToken
	}
	return nodes, nil
}

// Find returns the id of what a person calls a target: i-…, mi-… and ecs:… as
// they are; KEY=VALUE is a tag; anything else is the tag Name, a computer's name
// or a private address. Of several nodes the one that is online is meant; several
// that are online are an AmbiguousError. It takes the permission
// ssm:DescribeInstanceInformation unless the target is an id.
func (s *Service) Find(ctx context.Context, target string) (id string, err error) {
	if IsID(target) {
		return target, nil
	}
	if target == "" || strings.HasPrefix(target, "=") {
		return "", s.fail("target", target, errors.New("it says no node: an id, a name, a tag as KEY=VALUE or an address is due"))
	}
	found, err := s.search(ctx, target)
	if err != nil {
		return "", s.fail("ssm:DescribeInstanceInformation for", target, err)
	}
	online := slices.DeleteFunc(slices.Clone(found), func(n Node) bool { return !n.Online() })
	switch {
	case len(online) == 1:
		return online[0].ID, nil
	case len(online) > 1:
		err = &AmbiguousError{online}
	case len(found) == 0:
		err = &NotFoundError{s.aws.Region}
	case len(found) == 1:
		err = &OfflineError{found[0]}
	default:
		err = &AmbiguousError{found}
	}
	return "", s.fail("target", target, err)
}

func (s *Service) search(ctx context.Context, target string) ([]Node, error) {
	key, value, tag := strings.Cut(target, "=")
	if !tag {
		key, value = "Name", target
	}
	found, err := s.nodes(ctx, filter{"tag:" + key, []string{value}})
	if err != nil || len(found) > 0 || tag {
		return found, err
	}
	// Neither names nor addresses can be asked for.
	all, err := s.nodes(ctx)
	return slices.DeleteFunc(all, func(n Node) bool { return !n.called(target) }), err
}

// called reports whether a node has a name or address. The first label of a name
// in the private DNS will do.
func (n *Node) called(name string) bool {
	first, _, _ := strings.Cut(n.Computer, ".")
	return slices.ContainsFunc([]string{n.ID, n.Name, n.Computer, first, n.IP}, func(s string) bool {
		return s != "" && strings.EqualFold(s, name)
	})
}
