package code

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
)

// Signatures and fixed lengths of the parts of a zip (APPNOTE 6.3.10).
const (
	sigLocal     = 0x04034b50
	sigCentral   = 0x02014b50
	sigEnd       = 0x06054b50
	sigEnd64     = 0x06064b50
	sigLocator64 = 0x07064b50

	lenLocal     = 30
	lenCentral   = 46
	lenEnd       = 22
	lenEnd64     = 56
	lenLocator64 = 20
	maxComment   = 1<<16 - 1

	extraZip64 = 0x0001

	methodStore   = 0
	methodDeflate = 8

	flagEncrypted       = 1 << 0
	flagPatched         = 1 << 5
	flagStrongEncrypted = 1 << 6
	flagMaskedHeader    = 1 << 13
)

// archive is a zip whose structure was verified. It refers to the bytes that it
// was parsed from.
type archive struct {
	raw     []byte
	entries []*entry // in the order of the central directory, roots left out
	tree    *tree
	bytes   int64 // declared size of all files together
	files   int   // files, links and directories, implied ones included
}

// entry is one file, directory or link of an archive.
type entry struct {
	name string // canonical: relative, /-separated, no '.', no trailing '/'
	kind kind
	exec bool // any execute bit was set

	method           uint16
	crc              uint32
	compressed, size int64
	header           int64  // where the local header starts, in raw
	data             int64  // where the compressed bytes start, in raw
	target           string // of a link, after parse
}

// parse verifies everything about an archive that needs no decompression of
// files (links are read: their targets decide). Errors are *faas.Error.
func parse(raw []byte, limits Limits) (*archive, error) {
	if int64(len(raw)) > limits.Zipped {
		return nil, tooLarge("zipped package", int64(len(raw)), limits.Zipped)
	}
	dir, err := findDirectory(raw)
	if err != nil {
		return nil, err
	}
	a := &archive{raw: raw}
	if err := a.readDirectory(dir, limits); err != nil {
		return nil, err
	}
	if err := a.checkExtents(dir.start); err != nil {
		return nil, err
	}
	a.tree, err = buildTree(a.entries, limits)
	if err != nil {
		return nil, err
	}
	a.files = len(a.tree.nodes)
	if err := a.readLinks(); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(a.entries, func(e *entry) bool { return e.kind != kindDir }) {
		return nil, invalid("the archive has no files; upload a non-empty zip")
	}
	return a, a.tree.checkLinks()
}

// directory is where the central directory lies.
type directory struct {
	start, end int64  // in the archive's bytes
	base       int64  // added to every offset: data was put before the archive
	records    uint64 // declared
	exact      bool   // records is not cut to 16 bits
}

func findDirectory(raw []byte) (directory, error) {
	at := findEnd(raw)
	if at < 0 {
		return directory{}, invalid("this is not a zip archive (no end record); upload a .zip file")
	}
	b := raw[at:]
	disk, dirDisk := le16(b, 4), le16(b, 6)
	records, size, offset := uint64(le16(b, 10)), uint64(le32(b, 12)), uint64(le32(b, 16))
	end := int64(at)
	d := directory{records: records}
	if r, ok, err := findEnd64(raw, at); err != nil {
		return directory{}, err
	} else if ok {
		end, size, offset = r.at, r.size, r.offset
		d.records, d.exact = r.records, true
	} else if disk != 0 || dirDisk != 0 || records != uint64(le16(b, 8)) {
		return directory{}, invalid("the archive is split over several volumes; upload one zip")
	}
	if size > uint64(end) {
		return directory{}, invalid("the central directory is cut off; upload the archive again")
	}
	d.end, d.start = end, end-int64(size)
	if offset > uint64(d.start) {
		return directory{}, invalid("the central directory is not where the archive says; upload the archive again")
	}
	d.base = d.start - int64(offset)
	return d, nil
}

// findEnd returns the offset of the end record whose comment ends where the
// bytes end, or -1.
func findEnd(raw []byte) int {
	lowest := max(0, len(raw)-lenEnd-maxComment)
	for at := len(raw) - lenEnd; at >= lowest; at-- {
		if le32(raw, at) == sigEnd && at+lenEnd+int(le16(raw, at+20)) == len(raw) {
			return at
		}
	}
	return -1
}

type end64 struct {
	at                    int64
	records, size, offset uint64
}

// findEnd64 reads the zip64 end record, which lies between the central
// directory and the ordinary end record where there is one.
func findEnd64(raw []byte, end int) (end64, bool, error) {
	locator := end - lenLocator64
	if locator < 0 || le32(raw, locator) != sigLocator64 {
		return end64{}, false, nil
	}
	// Its offset is as declared or, where data was put before the archive, right
	// before the locator.
	at := int64(locator - lenEnd64)
	if declared := le64(raw, locator+8); declared <= uint64(max(at, 0)) && le32(raw, int(declared)) == sigEnd64 {
		at = int64(declared)
	}
	if at < 0 || le32(raw, int(at)) != sigEnd64 {
		return end64{}, false, invalid("the zip64 end record is missing; upload the archive again")
	}
	b := raw[at:]
	if le32(b, 16) != 0 || le32(b, 20) != 0 || le64(b, 24) != le64(b, 32) {
		return end64{}, false, invalid("the archive is split over several volumes; upload one zip")
	}
	return end64{at: at, records: le64(b, 32), size: le64(b, 40), offset: le64(b, 48)}, true, nil
}

// readDirectory reads the central directory into a.entries and sums sizes.
func (a *archive) readDirectory(d directory, limits Limits) error {
	records := uint64(0)
	for at := d.start; at < d.end; records++ {
		if records >= uint64(limits.Files) {
			return tooManyFiles(limits.Files)
		}
		header, next, err := a.readCentral(at, d)
		if err != nil {
			return err
		}
		at = next
		e, err := header.entry(limits)
		if err != nil {
			return err
		}
		if e == nil {
			continue // the root itself
		}
		if err := a.locate(e, header, d); err != nil {
			return err
		}
		if e.kind == kindFile {
			a.bytes += e.size
		}
		if a.bytes > limits.Unpacked {
			return tooLarge("unpacked package", a.declared(d), limits.Unpacked)
		}
		a.entries = append(a.entries, e)
	}
	if d.exact && records != d.records || !d.exact && uint16(records) != uint16(d.records) {
		return invalid("the archive says it has %d entries but has %d; upload the archive again", d.records, records)
	}
	return nil
}

// declared is the size that the whole directory declares, for the error that
// refuses it; entries that cannot be read end the sum.
func (a *archive) declared(d directory) (sum int64) {
	for at := d.start; at < d.end; {
		h, next, err := a.readCentral(at, d)
		if err != nil || h.size > 1<<50 {
			return sum
		}
		sum, at = sum+int64(h.size), next
	}
	return sum
}

// central is one header of the central directory, zip64 fields applied.
type central struct {
	name             string
	madeBy           uint8 // the system whose attributes external are
	flags, method    uint16
	crc              uint32
	compressed, size uint64
	offset           uint64
	external         uint32
}

func (a *archive) readCentral(at int64, d directory) (central, int64, error) {
	b := a.raw[at:d.end]
	if len(b) < lenCentral || le32(b, 0) != sigCentral {
		return central{}, 0, invalid("the central directory is damaged at byte %d; upload the archive again", at)
	}
	nameLen, extraLen, commentLen := int(le16(b, 28)), int(le16(b, 30)), int(le16(b, 32))
	total := lenCentral + nameLen + extraLen + commentLen
	if len(b) < total {
		return central{}, 0, invalid("the central directory is cut off at byte %d; upload the archive again", at)
	}
	h := central{
		name:       string(b[lenCentral : lenCentral+nameLen]),
		madeBy:     b[5],
		flags:      le16(b, 8),
		method:     le16(b, 10),
		crc:        le32(b, 16),
		compressed: uint64(le32(b, 20)),
		size:       uint64(le32(b, 24)),
		external:   le32(b, 38),
		offset:     uint64(le32(b, 42)),
	}
	if le16(b, 34) != 0 && le16(b, 34) != 0xffff {
		return central{}, 0, invalidEntry(h.name, "it lies on another volume; upload one zip")
	}
	if !h.applyZip64(b[lenCentral+nameLen : lenCentral+nameLen+extraLen]) {
		return central{}, 0, invalidEntry(h.name, "its zip64 sizes are missing; upload the archive again")
	}
	return h, at + int64(total), nil
}

// applyZip64 replaces the fields that are all ones by those of the zip64 extra
// field, and reports whether all were there.
func (h *central) applyZip64(extra []byte) bool {
	const full = 1<<32 - 1
	wants := []*uint64{}
	for _, p := range []*uint64{&h.size, &h.compressed, &h.offset} {
		if *p == full {
			wants = append(wants, p)
		}
	}
	if len(wants) == 0 {
		return true
	}
	for len(extra) >= 4 {
		id, n := le16(extra, 0), int(le16(extra, 2))
		extra = extra[4:]
		if n > len(extra) {
			return false
		}
		if id == extraZip64 {
			if n < 8*len(wants) {
				return false
			}
			for i, p := range wants {
				*p = le64(extra, 8*i)
			}
			return true
		}
		extra = extra[n:]
	}
	return false
}

// locate checks an entry's local header against its central one, and finds its data.
func (a *archive) locate(e *entry, h central, d directory) error {
	limit := uint64(d.start)
	if h.offset > limit || uint64(d.base)+h.offset > limit-min(limit, lenLocal) {
		return invalidEntry(h.name, "it lies outside the archive; upload the archive again")
	}
	e.header = d.base + int64(h.offset)
	b := a.raw[e.header:d.start]
	if le32(b, 0) != sigLocal {
		return invalidEntry(h.name, "its local header is missing; upload the archive again")
	}
	nameLen, extraLen := int(le16(b, 26)), int(le16(b, 28))
	start := lenLocal + nameLen + extraLen
	if start > len(b) || h.compressed > uint64(len(b)-start) {
		return invalidEntry(h.name, "its data is cut off; upload the archive again")
	}
	if !bytes.Equal(b[lenLocal:lenLocal+nameLen], []byte(h.name)) {
		return invalidEntry(h.name, "its local header names another file; make the archive again")
	}
	e.data = e.header + int64(start)
	return nil
}

// checkExtents refuses entries that share bytes: the overlap is how small
// archives unpack to petabytes.
func (a *archive) checkExtents(limit int64) error {
	order := slices.Clone(a.entries)
	slices.SortFunc(order, func(x, y *entry) int { return int(x.header - y.header) })
	for i, e := range order {
		end := limit
		if i+1 < len(order) {
			end = order[i+1].header
		}
		if e.data+e.compressed > end {
			return invalidEntry(e.name, "it overlaps another entry; make the archive again")
		}
	}
	return nil
}

// readLinks reads the targets of symbolic links.
func (a *archive) readLinks() error {
	for _, e := range a.entries {
		if e.kind != kindLink {
			continue
		}
		if e.size > maxLink {
			return invalidEntry(e.name, "the link's target is longer than %d bytes", maxLink)
		}
		var target bytes.Buffer
		if err := newInflater().copy(&target, a, e); err != nil {
			return err
		}
		e.target = target.String()
		a.tree.nodes[e.name].target = e.target
	}
	return nil
}

func quoteName(name string) string {
	const longest = 200
	if len(name) > longest {
		name = name[:longest] + "…"
	}
	return strconv.QuoteToGraphic(name)
}

// The helpers below return zero beyond the end, which no signature is.

func le16(b []byte, at int) uint16 {
	if at < 0 || at+2 > len(b) {
		return 0
	}
	return binary.LittleEndian.Uint16(b[at:])
}

func le32(b []byte, at int) uint32 {
	if at < 0 || at+4 > len(b) {
		return 0
	}
	return binary.LittleEndian.Uint32(b[at:])
}

func le64(b []byte, at int) uint64 {
	if at < 0 || at+8 > len(b) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[at:])
}
