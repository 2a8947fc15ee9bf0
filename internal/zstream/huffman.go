package zstream

import (
	"math/bits"
	"sync"
)

// A table leads from the next bits of the input to what they mean. Its first part
// is indexed by as many bits as its root says; entries of longer codes link to a
// part behind, which is indexed by the bits that follow. An entry is
//
//	value<<16 | op<<8 | extra<<4 | len
//
// with len the bits of the whole code, or for a link of the index behind; extra
// how many bits follow that are added to the value; and the value a literal, the
// least length or distance, or where the part behind begins.
const (
	lenMask    = 15
	extraShift = 4
	extraMask  = 15
	valueShift = 16

	opLiteral = 1 << 8
	opEnd     = 1 << 9
	opLink    = 1 << 10
	opInvalid = 1 << 11
)

// Sizes of tables. A complete code has at least k+1 codes behind a link of k bits,
// so that the parts behind have at most 286/6*32 and 30/8*128 entries.
const (
	litRoot, distRoot = 10, 8
	litTable          = 1<<litRoot + maxLiterals*32/6
	distTable         = 1<<distRoot + maxDistances*16

	maxLiterals, maxDistances = 286, 30 // codes that mean anything (RFC 1951, section 3.2.5)
	fixedLiterals             = 288     // codes that the fixed ones have
	fixedDistances            = 32
	maxLen                    = 15 // bits of the longest code
)

// meaning is what the symbols of a kind mean, as entries without len.
type meaning []uint32

// literalMeaning is that of literals, the end of the block and lengths.
var literalMeaning = sync.OnceValue(func() (m meaning) {
	for i := range uint32(256) {
		m = append(m, i<<valueShift|opLiteral)
	}
	m = append(m, opEnd)
	// 257 to 264 are lengths 3 to 10, then four each have a bit more of extra.
	base := uint32(3)
	for i := range uint32(28) {
		extra := max(i/4, 1) - 1
		m = append(m, base<<valueShift|extra<<extraShift)
		base += 1 << extra
	}
	m = append(m, maxMatch<<valueShift) // instead of 227 and 31 more
	return append(m, opInvalid, opInvalid)
})

// distanceMeaning is that of distances.
var distanceMeaning = sync.OnceValue(func() (m meaning) {
	base := uint32(1)
	for i := range uint32(maxDistances) {
		extra := max(i/2, 1) - 1
		m = append(m, base<<valueShift|extra<<extraShift)
		base += 1 << extra
	}
	return append(m, opInvalid, opInvalid)
})

// lengthMeaning is that of lengths of codes, and of what repeats them (section
// 3.2.7).
var lengthMeaning = sync.OnceValue(func() (m meaning) {
	for i := range uint32(19) {
		m = append(m, i<<valueShift)
	}
	return m
})

// fixedTables are those of blocks with fixed codes (section 3.2.6).
var fixedTables = sync.OnceValues(func() (lit, dist []uint32) {
	lens := make([]byte, fixedLiterals)
	for i := range lens {
		switch {
		case i < 144 || i >= 280:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		default:
			lens[i] = 7
		}
	}
	lit, dist = make([]uint32, 1<<litRoot), make([]uint32, 1<<distRoot)
	build(lit, litRoot, lens, literalMeaning())
	lens = lens[:fixedDistances]
	for i := range lens {
		lens[i] = 5
	}
	build(dist, distRoot, lens, distanceMeaning())
	return lit, dist
})

// build makes the table of the code whose symbols have codes of these lengths, in
// bits, 0 for none (section 3.2.2). It returns false if there is no such code, or
// an incomplete one, of which only a single code of one bit is allowed, as in
// zlib, or none at all.
func build(table []uint32, root uint, lens []byte, means meaning) bool {
	var count, next [maxLen + 1]int
	longest := 0
	for _, n := range lens {
		count[n]++
		longest = max(longest, int(n))
	}
	count[0] = 0
	left := 1 // codes not taken, of the length that is looked at
	for n := 1; n <= maxLen; n++ {
		if left = left<<1 - count[n]; left < 0 {
			return false
		}
		next[n] = (next[n-1] + count[n-1]) << 1
	}
	if left > 0 && (longest > 1 || longest == 1 && count[1] != 1) {
		return false
	}
	roots := table[:1<<root]
	for i := range roots {
		roots[i] = opInvalid | uint32(min(longest, 1)) // without any code, no bit is needed to tell
	}
	if longest > int(root) {
		link(table, root, lens, next)
	}
	for sym, n := range lens {
		if n == 0 {
			continue
		}
		code := reversed(next[n], n)
		next[n]++
		part, used := roots, uint(n)
		if used > root {
			e := roots[code&(1<<root-1)]
			part = table[e>>valueShift:][:1<<(e&lenMask)]
			code >>= root
			used -= root
		}
		for ; code < uint32(len(part)); code += 1 << used {
			part[code] = means[sym] | uint32(n)
		}
	}
	return true
}

// link puts links where codes are longer than root, each as wide as the longest
// code behind it needs. next are the first codes of each length.
func link(table []uint32, root uint, lens []byte, next [maxLen + 1]int) {
	roots := table[:1<<root]
	for _, n := range lens {
		if n == 0 {
			continue
		}
		e := &roots[reversed(next[n], n)&(1<<root-1)]
		next[n]++
		if uint(n) > root {
			wide := uint32(n) - uint32(root)
			if *e&opLink != 0 {
				wide = max(wide, *e&lenMask)
			}
			*e = opLink | wide
		}
	}
	behind := uint32(len(roots))
	for i, e := range roots {
		if e&opLink != 0 {
			roots[i] = e | behind<<valueShift
			behind += 1 << (e & lenMask)
		}
	}
}

// reversed is a code as it stands in the input, its first bit lowest.
func reversed(code int, n byte) uint32 {
	return uint32(bits.Reverse16(uint16(code)) >> (16 - n))
}
