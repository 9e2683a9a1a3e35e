package code

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
)

// raw is one entry of a hand-made archive. Zero fields are what an honest tool
// on Unix writes.
type raw struct {
	name      string
	localName string // default name
	content   string
	mode      uint32 // unix mode; default 0100644
	windows   bool   // made on a system without modes
	dos       uint32 // attributes, with windows
	store     bool
	method    uint16 // overrides
	flags     uint16
	crc       uint32 // overrides
	size      uint64 // overrides the declared size, in both headers
	packed    uint64 // overrides the declared compressed size
	zip64     bool   // sizes and offset go to the extra field
	same      int    // 1+index of the entry whose data this one points at
}

// rawZip writes an archive as told, sane or not.
func rawZip(entries ...raw) []byte {
	var out, dir bytes.Buffer
	offsets := make([]int, len(entries))
	for i, e := range entries {
		e.defaults()
		data := e.data()
		offsets[i] = out.Len()
		if e.same > 0 {
			offsets[i] = offsets[e.same-1]
		} else {
			e.local(&out, data)
		}
		e.central(&dir, data, offsets[i])
	}
	start := out.Len()
	out.Write(dir.Bytes())
	le(&out, uint32(sigEnd), uint16(0), uint16(0), uint16(len(entries)), uint16(len(entries)),
		uint32(dir.Len()), uint32(start), uint16(0))
	return out.Bytes()
}

func (e *raw) defaults() {
	if e.localName == "" {
		e.localName = e.name
	}
	if e.mode == 0 {
		e.mode = 0o100644
	}
	if e.method == 0 && !e.store {
		e.method = methodDeflate
	}
	if e.crc == 0 {
		e.crc = crc32.ChecksumIEEE([]byte(e.content))
	}
	if e.size == 0 {
		e.size = uint64(len(e.content))
	}
}

func (e *raw) data() []byte {
	if e.method != methodDeflate {
		return []byte(e.content)
	}
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write([]byte(e.content))
	w.Close()
	return b.Bytes()
}

func (e *raw) local(out *bytes.Buffer, data []byte) {
	le(out, uint32(sigLocal), uint16(20), e.flags, e.method, uint32(0), e.crc,
		uint32(len(data)), uint32(e.size), uint16(len(e.localName)), uint16(0))
	out.WriteString(e.localName)
	out.Write(data)
}

func (e *raw) central(dir *bytes.Buffer, data []byte, offset int) {
	madeBy, external := uint16(madeByUnix<<8|20), e.mode<<16
	if e.windows {
		madeBy, external = 20, e.dos
	}
	packed := uint64(len(data))
	if e.packed != 0 {
		packed = e.packed
	}
	size32, packed32, offset32 := uint32(e.size), uint32(packed), uint32(offset)
	var extra bytes.Buffer
	if e.zip64 {
		le(&extra, uint16(extraZip64), uint16(24), e.size, packed, uint64(offset))
		size32, packed32, offset32 = 1<<32-1, 1<<32-1, 1<<32-1
	}
	le(dir, uint32(sigCentral), madeBy, uint16(20), e.flags, e.method, uint32(0), e.crc,
		packed32, size32, uint16(len(e.name)), uint16(extra.Len()), uint16(0), uint16(0), uint16(0),
		external, offset32)
	dir.WriteString(e.name)
	dir.Write(extra.Bytes())
}

func le(b *bytes.Buffer, fields ...any) {
	for _, f := range fields {
		binary.Write(b, binary.LittleEndian, f)
	}
}

// withEnd64 inserts a zip64 end record and its locator before the end record,
// whose fields become all ones.
func withEnd64(zip []byte) []byte {
	end := len(zip) - lenEnd
	records, size, offset := le16(zip, end+10), le32(zip, end+12), le32(zip, end+16)
	var out bytes.Buffer
	out.Write(zip[:end])
	le(&out, uint32(sigEnd64), uint64(44), uint16(45), uint16(45), uint32(0), uint32(0),
		uint64(records), uint64(records), uint64(size), uint64(offset))
	le(&out, uint32(sigLocator64), uint32(0), uint64(end), uint32(1))
	le(&out, uint32(sigEnd), uint16(0), uint16(0), uint16(1<<16-1), uint16(1<<16-1),
		uint32(1<<32-1), uint32(1<<32-1), uint16(0))
	return out.Bytes()
}
