package wire

import "fmt"

// DirectTCPIP is the data of a direct-tcpip open (RFC 4254, section 7.2).
type DirectTCPIP struct {
	Host           string
	Port           uint32
	OriginatorAddr string
	OriginatorPort uint32
}

// Append implements Body.
func (d *DirectTCPIP) Append(b []byte) []byte {
	b = AppendUint32(AppendString(b, d.Host), d.Port)
	return AppendUint32(AppendString(b, d.OriginatorAddr), d.OriginatorPort)
}

func (d *DirectTCPIP) parse(p *Parser) {
	d.Host, d.Port, d.OriginatorAddr, d.OriginatorPort = p.String(), p.Uint32(), p.String(), p.Uint32()
}

// ForwardedTCPIP is the data of a forwarded-tcpip open (RFC 4254, section 7.2).
type ForwardedTCPIP struct {
	Addr           string // the address that was asked to be forwarded
	Port           uint32
	OriginatorAddr string
	OriginatorPort uint32
}

// Append implements Body.
func (d *ForwardedTCPIP) Append(b []byte) []byte {
	b = AppendUint32(AppendString(b, d.Addr), d.Port)
	return AppendUint32(AppendString(b, d.OriginatorAddr), d.OriginatorPort)
}

func (d *ForwardedTCPIP) parse(p *Parser) {
	d.Addr, d.Port, d.OriginatorAddr, d.OriginatorPort = p.String(), p.Uint32(), p.String(), p.Uint32()
}

// DirectStreamlocal is the data of a direct-streamlocal open
// (OpenSSH PROTOCOL, section 2.4).
type DirectStreamlocal struct{ Path string }

// Append implements Body.
func (d *DirectStreamlocal) Append(b []byte) []byte {
	return AppendUint32(AppendString(AppendString(b, d.Path), ""), 0)
}

func (d *DirectStreamlocal) parse(p *Parser) { d.Path, _, _ = p.String(), p.Bytes(), p.Uint32() }

// ForwardedStreamlocal is the data of a forwarded-streamlocal open.
type ForwardedStreamlocal struct{ Path string }

// Append implements Body.
func (d *ForwardedStreamlocal) Append(b []byte) []byte {
	return AppendString(AppendString(b, d.Path), "")
}

func (d *ForwardedStreamlocal) parse(p *Parser) { d.Path, _ = p.String(), p.Bytes() }

// TCPIPForward is the data of tcpip-forward and cancel-tcpip-forward
// (RFC 4254, section 7.1).
type TCPIPForward struct {
	Addr string
	Port uint32
}

// Append implements Body.
func (d *TCPIPForward) Append(b []byte) []byte { return AppendUint32(AppendString(b, d.Addr), d.Port) }

func (d *TCPIPForward) parse(p *Parser) { d.Addr, d.Port = p.String(), p.Uint32() }

// TCPIPForwardReply is the data of the success of a tcpip-forward for port 0.
type TCPIPForwardReply struct{ Port uint32 }

// Append implements Body.
func (d *TCPIPForwardReply) Append(b []byte) []byte { return AppendUint32(b, d.Port) }

func (d *TCPIPForwardReply) parse(p *Parser) { d.Port = p.Uint32() }

// StreamlocalForward is the data of streamlocal-forward and its cancel.
type StreamlocalForward struct{ Path string }

// Append implements Body.
func (d *StreamlocalForward) Append(b []byte) []byte { return AppendString(b, d.Path) }

func (d *StreamlocalForward) parse(p *Parser) { d.Path = p.String() }

// HostKeys is the data of hostkeys-00 and hostkeys-prove-00, and of the success
// of the latter, where the entries are signatures (OpenSSH PROTOCOL, 2.5).
type HostKeys struct{ Keys [][]byte }

// Append implements Body.
func (d *HostKeys) Append(b []byte) []byte {
	for _, k := range d.Keys {
		b = AppendString(b, k)
	}
	return b
}

// MaxHostKeys is the greatest number of entries accepted in one HostKeys.
const MaxHostKeys = 256

func (d *HostKeys) parse(p *Parser) {
	d.Keys = nil
	for p.Err() == nil && p.Len() > 0 {
		if len(d.Keys) == MaxHostKeys {
			p.fail(fmt.Errorf("host keys: %w (%d)", errTooLong, MaxHostKeys))
			return
		}
		if k := p.Bytes(); p.Err() == nil {
			d.Keys = append(d.Keys, k)
		}
	}
}
