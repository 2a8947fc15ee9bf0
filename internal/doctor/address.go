package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/adit-ssh/adit/dial"
)

// maxAddresses is how many of a name's addresses are tried.
const maxAddresses = 8

// checkAddresses connects to each address by itself, all at once. The first in
// order that answers is the connection.
func (e *exam) checkAddresses(ctx context.Context, addrs []netip.Addr) bool {
	if len(addrs) == 0 {
		e.skip(StageAddress, "", "there is none")
		return false
	}
	addrs = addrs[:min(len(addrs), maxAddresses)]
	type result struct {
		nc   net.Conn
		err  error
		took time.Duration
	}
	results := make([]result, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() {
			d := dial.TCP{Network: e.set.AddressFamily, BindAddress: e.conf.BindAddress, Timeout: e.limit, NoKeepAlive: !e.conf.TCPKeepAlive}
			began := time.Now()
			nc, err := d.Dial(ctx, netip.AddrPortFrom(a, uint16(e.conf.Port)).String())
			results[i] = result{nc, err, time.Since(began)}
		})
	}
	wg.Wait()
	for _, r := range results {
		switch {
		case r.nc != nil && e.nc == nil:
			e.nc = r.nc
		case r.nc != nil:
			r.nc.Close()
		}
	}
	for i, r := range results {
		c := Check{Stage: StageAddress, Subject: netip.AddrPortFrom(addrs[i], uint16(e.conf.Port)).String(), Status: OK, Took: r.took, Text: "connected"}
		if r.err != nil {
			c.Status, c.Text = Failed, oneLine(r.err.Error())
			if d, ok := errors.AsType[*dial.Error](r.err); ok {
				c.Text, c.Meaning = oneLine(d.Err.Error()), d.Hint()
			}
			if errors.Is(r.err, os.ErrDeadlineExceeded) {
				c.Text = fmt.Sprintf("no answer within %v", e.limit)
			}
			c.Fix = "check HostName and Port (adit config explain " + e.o.SSH.Host + "), and from where the server may be reached"
			if e.nc != nil {
				c.Status, c.Fix = Warning, "it costs time before another address is tried; AddressFamily inet or inet6 leaves one kind out"
			}
		}
		e.add(c)
	}
	return e.nc != nil
}
