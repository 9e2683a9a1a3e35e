package code

import "hearth/faas"

// Limits bound a deployment package. The zero value of a field is its default.
type Limits struct {
	Zipped   int64 // bytes of the archive; default 52,428,800
	Unpacked int64 // bytes of all files together; default 262,144,000
	// Files bounds files, links and directories together, the directories that
	// are only implied by a longer name included; default 100,000.
	Files int
	Name  int // bytes of one entry's path; default 1,024
}

const (
	defaultZipped   = 50 << 20
	defaultUnpacked = 250 << 20
	defaultFiles    = 100_000
	defaultName     = 1024
	// maxComponent is NAME_MAX of every file system that the cache may be on.
	maxComponent = 255
	// maxLink bounds the target of a symbolic link, in bytes.
	maxLink = 1024
)

func (l Limits) withDefaults() Limits {
	if l.Zipped <= 0 {
		l.Zipped = defaultZipped
	}
	if l.Unpacked <= 0 {
		l.Unpacked = defaultUnpacked
	}
	if l.Files <= 0 {
		l.Files = defaultFiles
	}
	if l.Name <= 0 {
		l.Name = defaultName
	}
	return l
}

// subject is what every error about a deployment package is about.
const subject = "package"

func tooLarge(what string, size, limit int64) error {
	return faas.Errorf(faas.CodeTooLarge, subject,
		"the %s is %d bytes; at most %d bytes are allowed", what, size, limit)
}

func tooManyFiles(limit int) error {
	return faas.Errorf(faas.CodeTooLarge, subject,
		"the archive has more than %d files and directories; remove what the function does not need", limit)
}

// invalid is an archive that cannot be used as a whole.
func invalid(format string, args ...any) error {
	return faas.Errorf(faas.CodeInvalidZip, subject, format, args...)
}

// invalidEntry is an archive that cannot be used because of one entry.
func invalidEntry(name, format string, args ...any) error {
	e := faas.Errorf(faas.CodeInvalidZip, subject, format, args...)
	e.Message = "entry " + quoteName(name) + ": " + e.Message
	return e
}
