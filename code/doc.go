// Package code handles deployment packages: it verifies and measures a zip
// before anything trusts it, unpacks it safely, and keeps one read-only
// directory per digest on this machine for as long as an instance uses it.
//
// It owns the unpacked cache. It must not know what runs the code.
//
// # Trust
//
// A zip is hostile input. It is read by one parser, this package's own, so that
// what was verified is what is unpacked. The parser works on the whole archive
// in memory (Limits.Zipped bounds it) and decides everything that needs no
// decompression: structure, names, kinds, links, the tree that the entries make,
// overlaps, declared sizes. Unpacking then counts real bytes and checksums, and
// touches the disk only through an os.Root, files before links.
//
// # The cache on disk
//
//	<Dir>/                        0711
//	<Dir>/<sha256>.<any>/content/ 0755, the package; what Dir.Path returns
//	<Dir>/<sha256>.<any>/complete the marker, written last
//	<Dir>/<sha256>.<any>/derived-<name>/ 0755, what Derive made of the package
//	<Dir>/<digest>.<any>/         likewise, of an ordered list of packages: see AcquireMerged
//	<Dir>/tmp/                    0700, what is being unpacked or removed
//	<Dir>/forgotten/<sha256>      packages to delete once their grace time is over
//
// A package is unpacked below tmp, given its marker and renamed into place, and
// renamed back to tmp before it is removed: what stands beside tmp is whole. The
// suffix makes every unpacking a new name, so that removing one never meets the
// next of the same package. The cache can always be rebuilt from the blobs, so nothing in it is
// synced; instead the marker carries the boot id of the machine, and what
// another boot left (it may have been torn by a power loss) is unpacked again.
package code
