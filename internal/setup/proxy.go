package setup

import (
	"context"
	"net"
)

// proxied leads through Options.Proxy, to which direct connects. The proxy is
// told the server's name and looks it up.
func (o *Options) proxied(direct func(context.Context, string) (net.Conn, error)) func(context.Context, string) (net.Conn, error) {
	p := *o.Proxy
	p.Forward = direct
	return p.Dial
}
