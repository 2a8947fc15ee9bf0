package view

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Write prints the numbers as tables.
func (s Stats) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, c := range s.Conns {
		if i > 0 {
			fmt.Fprintln(t)
		}
		c.write(t)
	}
	return t.Flush()
}

func (c *Conn) write(t io.Writer) {
	fmt.Fprintf(t, "connection %d, %s\n", c.Number, c.whom())
	fmt.Fprintf(t, "  messages\t%d out, %d in\n", c.Messages[0], c.Messages[1])
	fmt.Fprintf(t, "  payload\t%s out, %s in\n", Bytes(c.Payload[0]), Bytes(c.Payload[1]))
	switch c.Role {
	case "ssm":
	case "agent":
		fmt.Fprintf(t, "  requests\t%d, of which %d were refused\n", c.Requests, c.Refused)
	default:
		fmt.Fprintf(t, "  key exchanges after the first\t%d\n", c.Rekeys)
	}
	if c.Carriers[0]+c.Carriers[1] > 0 {
		fmt.Fprintf(t, "  Session Manager's messages\t%d out, %d in\n", c.Carriers[0], c.Carriers[1])
	}
	if c.Again[0]+c.Again[1] > 0 {
		fmt.Fprintf(t, "  sent once more\t%d out, %d in\n", c.Again[0], c.Again[1])
	}
	if c.Pauses > 0 {
		fmt.Fprintf(t, "  asked to pause\t%d×\n", c.Pauses)
	}
	if c.RTTOf != "" {
		fmt.Fprintf(t, "  round trip\t%s at most (%s)\n", Span(c.RTT), c.RTTOf)
	}
	total := time.Duration(0)
	for _, s := range c.Stages {
		total += s.Took
		fmt.Fprintf(t, "  %s\t%s\tafter %s\n", s.Name, Span(s.Took), Span(total))
	}
	if len(c.Channels) == 0 {
		return
	}
	fmt.Fprintln(t, "  channel\ttype\ttarget\topen\tfirst byte\tout\tin\twindow used up (out, in)")
	for _, ch := range c.Channels {
		if ch.Refused != "" {
			fmt.Fprintf(t, "  %d\t%s\t%s\t%s\trefused: %s\n", ch.Number, text(ch.Type), dash(text(ch.Target)), Span(ch.OpenTook), text(ch.Refused))
			continue
		}
		first := "-"
		if ch.Messages[1] > 0 {
			first = Span(ch.FirstByte)
		}
		fmt.Fprintf(t, "  %d\t%s\t%s\t%s\t%s\t%s\t%s\t%s, %s\n", ch.Number, text(ch.Type), dash(text(ch.Target)), Span(ch.OpenTook), first,
			Bytes(ch.Bytes[0]), Bytes(ch.Bytes[1]), stalls(ch, 0), stalls(ch, 1))
	}
}

// whom says what a connection is.
func (c *Conn) whom() string {
	switch c.Role {
	case "server", "agent":
		return c.Role + " of " + text(c.Target)
	case "ssm":
		return "session with " + text(c.Target)
	}
	return "client of " + text(c.Target)
}

func stalls(ch *Channel, dir int) string {
	if ch.Stalls[dir] == 0 {
		return "never"
	}
	return fmt.Sprintf("%d× %s", ch.Stalls[dir], Span(ch.Stalled[dir]))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
