package session

import "golang.org/x/sys/unix"

// vDisable is the character that says that there is none.
const vDisable = 0

var specialChars = []specialChar{
	{1, unix.VINTR}, {2, unix.VQUIT}, {3, unix.VERASE}, {4, unix.VKILL}, {5, unix.VEOF}, {6, unix.VEOL}, {7, unix.VEOL2},
	{8, unix.VSTART}, {9, unix.VSTOP}, {10, unix.VSUSP}, {12, unix.VREPRINT}, {13, unix.VWERASE}, {14, unix.VLNEXT},
	{18, unix.VDISCARD},
}

var flagModes = []flagMode{
	{30, unix.IGNPAR}, {31, unix.PARMRK}, {32, unix.INPCK}, {33, unix.ISTRIP}, {34, unix.INLCR}, {35, unix.IGNCR},
	{36, unix.ICRNL}, {37, unix.IUCLC}, {38, unix.IXON}, {39, unix.IXANY}, {40, unix.IXOFF}, {41, unix.IMAXBEL}, {42, unix.IUTF8},
	{50, unix.ISIG}, {51, unix.ICANON}, {52, unix.XCASE}, {53, unix.ECHO}, {54, unix.ECHOE}, {55, unix.ECHOK}, {56, unix.ECHONL},
	{57, unix.NOFLSH}, {58, unix.TOSTOP}, {59, unix.IEXTEN}, {60, unix.ECHOCTL}, {61, unix.ECHOKE}, {62, unix.PENDIN},
	{70, unix.OPOST}, {71, unix.OLCUC}, {72, unix.ONLCR}, {73, unix.OCRNL}, {74, unix.ONOCR}, {75, unix.ONLRET},
	{90, unix.CS7}, {91, unix.CS8}, {92, unix.PARENB}, {93, unix.PARODD},
}

// baud are the bits per second of c_cflag's codes, which Linux numbers in two
// rows (termios(3)).
var baud = map[uint32]uint32{
	unix.B0: 0, unix.B50: 50, unix.B75: 75, unix.B110: 110, unix.B134: 134, unix.B150: 150, unix.B200: 200, unix.B300: 300,
	unix.B600: 600, unix.B1200: 1200, unix.B1800: 1800, unix.B2400: 2400, unix.B4800: 4800, unix.B9600: 9600,
	unix.B19200: 19200, unix.B38400: 38400, unix.B57600: 57600, unix.B115200: 115200, unix.B230400: 230400,
}

func speeds(t *unix.Termios) (in, out uint32) {
	bits, known := baud[t.Cflag&unix.CBAUD]
	if !known {
		bits = unknownSpeed // as OpenSSH takes it
	}
	return bits, bits
}

const (
	tcGet = unix.TCGETS
	tcSet = unix.TCSETS
)
