package userauth

import (
	"fmt"

	"github.com/adit-ssh/adit/internal/wire"
)

// read returns the next message that answers a request: SUCCESS, FAILURE or one
// numbered 60, whose meaning the method knows. On the way it takes
// SERVICE_ACCEPT and banners.
//
//	number      before SERVICE_ACCEPT   after it
//	6           taken                   error
//	51, 52, 60  error                   returned
//	53          taken                   taken
//	5, 50, 61   error: a client's messages
//	80-127      error: RFC 4252, section 6
//	others      UNIMPLEMENTED
func (c *client) read() ([]byte, error) {
	for {
		p, err := c.pc.ReadPacket()
		if err != nil {
			return nil, err
		}
		switch num := p[0]; {
		case num == wire.NumServiceAccept && !c.accepted:
			err = c.serviceAccept(p)
		case num == wire.NumUserauthBanner:
			err = c.banner(p)
		case num == wire.NumUserauthFailure, num == wire.NumUserauthSuccess, num == wire.NumUserauthPKOK:
			if c.accepted {
				return p, nil
			}
			err = c.breach("message %d before SERVICE_ACCEPT", num)
		case num == wire.NumServiceRequest, num == wire.NumServiceAccept, num == wire.NumUserauthRequest,
			num == wire.NumUserauthInfoResponse, num >= 80 && num < 128:
			err = c.breach("%s during authentication", wire.Name(wire.PhaseKbdint, num))
		default:
			if c.unrelated++; c.unrelated > maxUnrelated {
				err = c.breach("more than %d unknown messages during authentication", maxUnrelated)
			} else {
				err = c.pc.Unimplemented()
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

func (c *client) serviceAccept(p []byte) error {
	var m wire.ServiceAccept
	if err := wire.Parse(p, &m); err != nil {
		return c.breach("%v", err)
	}
	if m.Service != "" && m.Service != wire.ServiceUserauth {
		return c.breach("SERVICE_ACCEPT for %.64q", m.Service)
	}
	c.accepted = true
	return nil
}

// banner hands on a text of the server (RFC 4252, section 5.4).
func (c *client) banner(p []byte) error {
	var m wire.UserauthBanner
	if err := wire.Parse(p, &m); err != nil {
		return c.breach("%v", err)
	}
	c.banners++
	c.bannerBytes += len(m.Message)
	if c.banners > maxBanners || c.bannerBytes > maxBannerBytes {
		return c.breach("more than %d banners, or %d bytes of them", maxBanners, maxBannerBytes)
	}
	if c.cfg.Banner != nil {
		c.cfg.Banner(m.Message)
	}
	return nil
}

// breach ends the connection because the server broke a rule.
func (c *client) breach(format string, args ...any) error {
	c.broken = c.pc.Abort(wire.DisconnectProtocolError, fmt.Sprintf(format, args...))
	return c.broken
}
