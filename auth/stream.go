package auth

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	streamSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	// maxChunk bounds what is read before a signature shows that it is its caller's.
	maxChunk = 16 << 20
	// maxChunkLine bounds the line in front of a chunk, and a trailer's.
	maxChunkLine = 4 << 10
)

// authenticateStream verifies a request whose body comes in chunks (Content-Encoding
// aws-chunked), and replaces the body by what is in them.
func (v *Verifier) authenticateStream(r *http.Request, c *claim, signer *signingKey) error {
	if !slices.Contains([]string{streamSigned, streamSignedTrailer, streamUnsignedTrailer}, c.payload) {
		return refuse(Invalid, "The value '%s' of x-amz-content-sha256 is not supported.", clip(c.payload))
	}
	if err := c.match(r, signer, c.payload); err != nil {
		return err
	}
	size, err := decodedLength(r)
	if err != nil {
		return err
	}
	chunks := newChunkReader(r.Body, c, signer)
	data, release, err := v.readAll(r, chunks, size)
	if err == nil && size >= 0 {
		err = chunks.finish()
	}
	if err != nil {
		release()
		return unreadable(err)
	}
	r.Body = newBody(data, release)
	r.ContentLength = int64(len(data))
	r.Header.Del("Content-Length")
	encodings := strings.Split(headerValue(r.Header, "Content-Encoding"), ",")
	encodings = slices.DeleteFunc(encodings, func(e string) bool { return strings.TrimSpace(e) == "aws-chunked" })
	r.Header.Del("Content-Encoding")
	if left := strings.TrimSpace(strings.Join(encodings, ",")); left != "" {
		r.Header.Set("Content-Encoding", left)
	}
	return nil
}

// decodedLength is the length of what is in the chunks, -1 where the client does
// not say.
func decodedLength(r *http.Request) (int64, error) {
	text := headerValue(r.Header, "X-Amz-Decoded-Content-Length")
	if text == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, refuse(Incomplete, "x-amz-decoded-content-length must be a number of bytes, not '%s'", clip(text))
	}
	return n, nil
}

// chunkReader yields the data of signed chunks; nothing of a chunk comes out
// before its signature was verified. The signature of each covers the one before.
type chunkReader struct {
	in      *bufio.Reader
	c       *claim
	signer  *signingKey
	signed  bool // the chunks are
	trailer bool
	before  string // the last signature
	data    []byte // of the chunk that was verified last
	unread  []byte // of it
	ended   bool
	err     error
}

func newChunkReader(body io.Reader, c *claim, signer *signingKey) *chunkReader {
	if body == nil {
		body = http.NoBody
	}
	return &chunkReader{
		in: bufio.NewReaderSize(body, maxChunkLine), c: c, signer: signer, before: c.signature,
		signed: c.payload != streamUnsignedTrailer, trailer: c.payload != streamSigned,
	}
}

func (s *chunkReader) Read(p []byte) (int, error) {
	for len(s.unread) == 0 {
		if s.err == nil && !s.ended {
			s.err = s.next()
		}
		if s.err != nil {
			return 0, s.err
		}
		if s.ended {
			return 0, io.EOF
		}
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

// finish verifies what follows the data: the last chunk and the trailer.
func (s *chunkReader) finish() error {
	var one [1]byte
	n, err := s.Read(one[:])
	if n > 0 {
		return refuse(Unreadable, "The chunks hold more than x-amz-decoded-content-length says.")
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// next reads and verifies one chunk.
func (s *chunkReader) next() error {
	line, err := s.line()
	if err != nil {
		return err
	}
	digits, extension, _ := strings.Cut(line, ";")
	size, err := strconv.ParseInt(digits, 16, 32)
	if err != nil || size < 0 || size > maxChunk {
		return refuse(Unreadable, "A chunk's size is not a number in hex up to %x: '%s'", maxChunk, clip(digits))
	}
	if int64(cap(s.data)) < size {
		s.data = make([]byte, size)
	}
	s.data = s.data[:size]
	if _, err := io.ReadFull(s.in, s.data); err != nil {
		return unexpected(err)
	}
	if s.signed {
		signature, found := strings.CutPrefix(extension, "chunk-signature=")
		if !found || !s.verify("-PAYLOAD", signature, emptyHash+"\n", s.data) {
			return &Error{Invalid, mismatchText}
		}
	}
	if size == 0 {
		s.ended = true
		return s.end()
	}
	if end, err := s.line(); err != nil || end != "" {
		return unexpected(err)
	}
	s.unread = s.data
	return nil
}

// end reads the trailer, up to the empty line.
func (s *chunkReader) end() error {
	var fields bytes.Buffer
	for {
		line, err := s.line()
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
			if s.trailer && s.signed {
				return &Error{Invalid, mismatchText} // the trailer's signature is missing
			}
			return nil
		case !s.trailer || fields.Len() > maxChunkLine:
			return refuse(Unreadable, "After the last chunk comes what is no trailer.")
		case name == "x-amz-trailer-signature":
			if s.signed && !s.verify("-TRAILER", value, "", fields.Bytes()) {
				return &Error{Invalid, mismatchText}
			}
			if end, err := s.line(); err != nil || end != "" {
				return unexpected(err)
			}
			return nil
		default:
			fields.WriteString(strings.ToLower(strings.TrimSpace(name)) + ":" + strings.TrimSpace(value) + "\n")
		}
	}
}

// verify compares the signature of a chunk or a trailer, and remembers it.
func (s *chunkReader) verify(kind, signature, middle string, data []byte) bool {
	sum := sha256.Sum256(data)
	text := algorithm + kind + "\n" + s.c.atText + "\n" + s.c.scope + "/" + terminator + "\n" + s.before + "\n" + middle + hex.EncodeToString(sum[:])
	want := hex.EncodeToString(s.signer.sign(nil, []byte(text)))
	if subtle.ConstantTimeCompare([]byte(want), []byte(signature)) != 1 {
		return false
	}
	s.before = want
	return true
}

// line reads to the next end of a line, which is not part of it.
func (s *chunkReader) line() (string, error) {
	line, err := s.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return "", refuse(Unreadable, "A line between chunks is longer than %d bytes.", maxChunkLine)
	}
	if err != nil {
		return "", unexpected(err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}

// unexpected is the error of a body that ends, or goes on, where it must not.
func unexpected(err error) error {
	if err == nil {
		return refuse(Unreadable, "A chunk is longer than it says.")
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return unreadable(err)
}
