package code

import (
	"path"
	"strings"
	"unicode/utf8"
)

// kind is what an entry becomes on disk; nothing else is unpacked.
type kind uint8

const (
	kindFile kind = iota
	kindDir
	kindLink
)

// Unix file types and bits in the upper half of the external attributes.
const (
	unixType   = 0o170000
	unixFile   = 0o100000
	unixDir    = 0o040000
	unixLink   = 0o120000
	unixFifo   = 0o010000
	unixChar   = 0o020000
	unixBlock  = 0o060000
	unixSocket = 0o140000
	unixSetIDs = 0o6000
	unixExec   = 0o111

	dosDirectory = 0x10

	madeByUnix   = 3
	madeByDarwin = 19
)

// entry judges one header by itself: what it is and how it is named. It
// returns nil for the root directory. Sizes are checked against what is
// declared here and counted while unpacking.
func (h central) entry(limits Limits) (*entry, error) {
	if h.flags&(flagEncrypted|flagStrongEncrypted|flagMaskedHeader) != 0 {
		return nil, invalidEntry(h.name, "it is encrypted; make the archive without a password")
	}
	if h.method != methodStore && h.method != methodDeflate || h.flags&flagPatched != 0 {
		return nil, invalidEntry(h.name, "compression method %d is not supported; use deflate or store", h.method)
	}
	e := &entry{method: h.method, crc: h.crc}
	if err := e.judgeKind(h); err != nil {
		return nil, err
	}
	name, err := canonical(h.name, limits)
	if err != nil {
		return nil, err
	}
	if name == "." {
		if e.kind != kindDir {
			return nil, invalidEntry(h.name, "a file needs a name")
		}
		return nil, nil
	}
	const unreal = 1 << 50 // keeps sums inside int64
	if h.size > unreal || h.compressed > unreal {
		return nil, tooLarge("entry "+quoteName(h.name), int64(min(h.size, unreal)), limits.Unpacked)
	}
	e.name, e.size, e.compressed = name, int64(h.size), int64(h.compressed)
	if e.kind == kindDir && e.size != 0 {
		return nil, invalidEntry(h.name, "a directory cannot have content")
	}
	if e.method == methodStore && e.size != e.compressed {
		return nil, invalidEntry(h.name, "it is stored, but its two sizes differ; make the archive again")
	}
	return e, nil
}

// judgeKind reads the kind and the execute bit from name and attributes.
// Archives that were made on Windows have no modes: their files are plain.
func (e *entry) judgeKind(h central) error {
	slash := strings.HasSuffix(h.name, "/")
	if h.madeBy != madeByUnix && h.madeBy != madeByDarwin {
		if slash || h.external&dosDirectory != 0 {
			e.kind = kindDir
		}
		return nil
	}
	mode := h.external >> 16
	switch mode & unixType {
	case unixFile, 0:
		if slash {
			e.kind = kindDir
		}
	case unixDir:
		e.kind = kindDir
	case unixLink:
		if slash {
			return invalidEntry(h.name, "it is named like a directory but is a link")
		}
		e.kind = kindLink
	case unixFifo, unixSocket, unixChar, unixBlock:
		return invalidEntry(h.name, "devices, pipes and sockets are not allowed in a package; remove it")
	default:
		return invalidEntry(h.name, "its file type %#o is unknown; make the archive again", mode&unixType)
	}
	if e.kind == kindFile {
		if mode&unixSetIDs != 0 {
			return invalidEntry(h.name, "set-uid and set-gid files are not allowed; clear the bit with chmod a-s")
		}
		e.exec = mode&unixExec != 0
	}
	return nil
}

// canonical returns the one spelling of an entry's path, or refuses it.
func canonical(name string, limits Limits) (string, error) {
	switch {
	case name == "":
		return "", invalidEntry(name, "it has no name")
	case len(name) > limits.Name:
		return "", invalidEntry(name, "its name is %d bytes long; at most %d are allowed", len(name), limits.Name)
	case !utf8.ValidString(name):
		return "", invalidEntry(name, "its name is not UTF-8; make the archive with UTF-8 names")
	case strings.ContainsRune(name, 0):
		return "", invalidEntry(name, "its name contains a zero byte")
	case strings.ContainsRune(name, '\\'):
		return "", invalidEntry(name, "its name contains a backslash; make the archive with / between folders")
	case name[0] == '/' || isDrive(name):
		return "", invalidEntry(name, "its name is an absolute path; names must be relative to the package")
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		switch {
		case part == "..":
			return "", invalidEntry(name, "its name leaves the package (..)")
		case part == "":
			return "", invalidEntry(name, "its name has an empty folder name (//)")
		case len(part) > maxComponent:
			return "", invalidEntry(name, "a part of its name is longer than %d bytes", maxComponent)
		}
	}
	return path.Clean(name), nil
}

// isDrive reports names such as C:/x, absolute on the system they came from.
func isDrive(name string) bool {
	letter := name[0] | 0x20
	return len(name) >= 3 && name[1] == ':' && name[2] == '/' && letter >= 'a' && letter <= 'z'
}
