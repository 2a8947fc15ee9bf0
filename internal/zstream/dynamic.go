package zstream

// lengthOrder is the order in which the lengths of lengths' codes come (RFC 1951,
// section 3.2.7).
var lengthOrder = [19]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// codeCounts reads how many codes a block defines.
func (z *Inflater) codeCounts() error {
	if !z.need(14) {
		return errMore
	}
	z.literals, z.distances, z.lengthCodes = 257+int(z.take(5)), 1+int(z.take(5)), 4+int(z.take(4))
	if z.literals > maxLiterals || z.distances > maxDistances {
		return corrupt("a block with too many codes")
	}
	clear(z.lens[:])
	z.count = 0
	z.step = (*Inflater).codeLengths
	return nil
}

// codeLengths reads the lengths of the codes of lengths.
func (z *Inflater) codeLengths() error {
	for ; z.count < z.lengthCodes; z.count++ {
		if !z.need(3) {
			return errMore
		}
		z.lens[lengthOrder[z.count]] = byte(z.take(3))
	}
	if !build(z.ownDist[:], lengthRoot, z.lens[:len(lengthOrder)], lengthMeaning()) {
		return corrupt("a block's codes of lengths are no code")
	}
	clear(z.lens[:])
	z.count = 0
	z.step = (*Inflater).lengths
	return nil
}

// lengthRoot is the root of the table of lengths' codes, whose longest has as many
// bits. It stands where that of distances comes afterwards.
const lengthRoot = 7

// lengths reads the lengths of the codes of literals and distances.
func (z *Inflater) lengths() error {
	for all := z.literals + z.distances; z.count < all; {
		z.need(7 + 7) // there may be less
		e := z.ownDist[z.bits&(1<<lengthRoot-1)]
		used, sym := uint(e&lenMask), e>>valueShift
		if used > z.n {
			return errMore
		}
		if e&opInvalid != 0 {
			return corrupt("no such length of a code")
		}
		if sym < 16 {
			z.drop(used)
			z.lens[z.count] = byte(sym)
			z.count++
			continue
		}
		if sym == 16 && z.count == 0 {
			return corrupt("a repeated length before the first")
		}
		repeat := repeats[sym-16]
		if used+repeat.extra > z.n {
			return errMore
		}
		z.drop(used)
		times := repeat.least + int(z.take(repeat.extra))
		var length byte
		if sym == 16 {
			length = z.lens[z.count-1]
		}
		if z.count+times > all {
			return corrupt("more lengths than codes")
		}
		for range times {
			z.lens[z.count] = length
			z.count++
		}
	}
	return z.tables()
}

// repeats are the symbols that repeat the last length, and zeros twice.
var repeats = [3]struct {
	least int
	extra uint
}{{3, 2}, {3, 3}, {11, 7}}

// tables makes the tables of the block.
func (z *Inflater) tables() error {
	lens := z.lens[:z.literals+z.distances]
	switch {
	case lens[256] == 0:
		return corrupt("a block without an end")
	case !build(z.ownLit[:], litRoot, lens[:z.literals], literalMeaning()):
		return corrupt("a block's literals and lengths are no code")
	case !build(z.ownDist[:], distRoot, lens[z.literals:], distanceMeaning()):
		return corrupt("a block's distances are no code")
	}
	z.lit, z.dist = z.ownLit[:], z.ownDist[:]
	z.step = (*Inflater).symbols
	return nil
}
