package ssm

import (
	"cmp"
	"context"
	"strings"
)

var tagging = &awsService{id: "Resource Groups Tagging API", host: "tagging", target: "ResourceGroupsTaggingAPI_20170126"}

// Tags adds their tags to nodes, and to those without a name the tag Name. It takes
// the permission tag:GetResources, and nothing of EC2: that one call has the tags of
// instances and of hybrid nodes. Nodes that have none are left as they are.
func (s *Service) Tags(ctx context.Context, nodes []Node) error {
	const action = "tag:GetResources"
	api, err := s.newCaller(tagging, "")
	if err != nil {
		return s.fail(action, "", err)
	}
	byID := map[string]*Node{}
	for i := range nodes {
		byID[nodes[i].ID] = &nodes[i]
	}
	in := &resourcesByType{ResourceTypeFilters: []string{"ec2:instance", "ssm:managed-instance"}, ResourcesPerPage: 100}
	for range maxTagPages {
		var page taggedResources
		if err := api.call(ctx, "GetResources", in, &page); err != nil {
			return s.fail(action, "", err)
		}
		for _, r := range page.ResourceTagMappingList {
			// arn:aws:ec2:REGION:ACCOUNT:instance/i-…, arn:aws:ssm:…:managed-instance/mi-…
			n := byID[r.ResourceARN[strings.LastIndexByte(r.ResourceARN, '/')+1:]]
			if n == nil {
				continue
			}
			n.Tags = make(map[string]string, len(r.Tags))
			for _, t := range r.Tags {
				n.Tags[t.Key] = t.Value
			}
			n.Name = cmp.Or(n.Name, n.Tags["Name"])
		}
		if page.PaginationToken == "" || page.PaginationToken == in.PaginationToken {
			break
		}
		in.PaginationToken = page.PaginationToken
	}
	return nil
}

// maxTagPages is how many pages of tags are read: 100 resources each.
const maxTagPages = 200

// resourcesByType is of the Resource Groups Tagging API (API reference, 2017-01-26).
type resourcesByType struct {
	ResourceTypeFilters []string
	ResourcesPerPage    int    // 100 at most
	PaginationToken     string `json:",omitempty"`
}

type taggedResources struct {
	PaginationToken        string
	ResourceTagMappingList []struct {
		ResourceARN string
		Tags        []struct{ Key, Value string }
	}
}
