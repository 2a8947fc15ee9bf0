package wire

// Message numbers of OpenSSH's transport extension ping@openssh.com
// (OpenSSH PROTOCOL, section 1.9).
const (
	NumPing = 192
	NumPong = 193
)

// Ping asks for a Pong with the same data.
type Ping struct{ Data []byte }

// Num implements Msg.
func (*Ping) Num() byte { return NumPing }

// Append implements Msg.
func (m *Ping) Append(b []byte) []byte { return AppendString(append(b, NumPing), m.Data) }

func (m *Ping) parse(p *Parser) { m.Data = p.Bytes() }

// Pong answers a Ping.
type Pong struct{ Data []byte }

// Num implements Msg.
func (*Pong) Num() byte { return NumPong }

// Append implements Msg.
func (m *Pong) Append(b []byte) []byte { return AppendString(append(b, NumPong), m.Data) }

func (m *Pong) parse(p *Parser) { m.Data = p.Bytes() }
