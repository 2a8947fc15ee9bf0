// Package zstream is one direction of SSH compression (RFC 4253, section 6.2): a
// zlib stream (RFC 1950, RFC 1951) that is passed on packet by packet and never
// ends. It knows no packets, only byte slices.
//
// A Deflater makes each packet's piece of the stream: deflate of the standard
// library, flushed so that the piece ends with a whole byte. An Inflater takes the
// pieces apart, whatever way their sender flushed. It is ours since a reader of
// package compress/flate waits for more input where a sender, such as zlib with
// Z_PARTIAL_FLUSH, ends a packet in the middle of a byte; and since it pulls from
// a stream, where a packet is pushed.
package zstream
