package nats

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/minio/highwayhash"
)

// mendStreams finishes streams whose making was killed between the server's two
// writes of their description: meta.inf is there, whole, and its checksum in
// meta.sum is not. The server would take such a stream for missing at every start,
// make it once more without ever writing the checksum, and so lose at the next
// start what was acknowledged meanwhile.
func mendStreams(store string) error {
	descriptions, err := filepath.Glob(filepath.Join(store, "jetstream", "*", "streams", "*", "meta.inf"))
	if err != nil {
		return err
	}
	for _, path := range descriptions {
		sum := filepath.Join(filepath.Dir(path), "meta.sum")
		if _, err := os.Stat(sum); err == nil || !errors.Is(err, fs.ErrNotExist) {
			continue // the server says what is wrong with it
		}
		if err := writeChecksum(path, sum); err != nil {
			return fmt.Errorf("finish the stream of %s: %w", path, err)
		}
	}
	return nil
}

// writeChecksum writes the server's checksum of a description, whole or not at all.
func writeChecksum(description, sum string) error {
	content, err := os.ReadFile(description)
	if err != nil {
		return err
	}
	stream := filepath.Base(filepath.Dir(description))
	key := sha256.Sum256([]byte(stream))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return err
	}
	hash.Write(content) // never fails
	temp := sum + ".mend"
	if err := writeSynced(temp, []byte(hex.EncodeToString(hash.Sum(nil)))); err != nil {
		return err
	}
	if err := os.Rename(temp, sum); err != nil {
		return err
	}
	return syncDir(filepath.Dir(sum))
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}
