package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hearth/faas"
)

// sealName is the file with the sealing key, in the directory that Open is given.
const sealName = "seal.key"

// sealer seals secrets (AES-256-GCM) with a key that is a file of its own, 0600.
// What is stored or copied without that file is then worth nothing: a backup of the
// engine, its replicas on other machines, a block of the disk that was not wiped. It
// protects from nobody who can read the data directory. Nodes that share the keys
// need the same file.
type sealer struct {
	aead cipher.AEAD
	id   string // begins the digest of the key: which one sealed
}

// openSealer reads the sealing key, or makes one where there is none.
func openSealer(dir string) (*sealer, error) {
	path := filepath.Join(dir, sealName)
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = random(32)
		err = writeNew(path, key)
	}
	if err != nil {
		return nil, fmt.Errorf("the sealing key: %w", err)
	}
	if len(key) != 32 {
		return nil, faas.Errorf(faas.CodeInternal, "keys", "the sealing key %s has %d bytes, not 32: restore it from a backup", path, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(key)
	return &sealer{aead: aead, id: hex.EncodeToString(sum[:4])}, nil
}

// writeNew makes a file that is there whole, and on disk, or not at all.
func writeNew(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), sealName+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// sealed is a secret as it is stored.
type sealed struct {
	By   string `json:"by"`   // the id of the sealing key
	Text []byte `json:"text"` // nonce and ciphertext
}

func (s *sealer) seal(c *Credentials) (sealed, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return sealed{}, err
	}
	return sealed{By: s.id, Text: s.aead.Seal(nil, nil, text, []byte(c.KeyID))}, nil
}

// open returns what was sealed for the key with an id: nothing else opens under it.
func (s *sealer) open(id string, in sealed) (*Credentials, error) {
	text, err := s.aead.Open(nil, nil, in.Text, []byte(id))
	if err != nil {
		return nil, fmt.Errorf("key %s was sealed with the sealing key %s, and %s of this data directory is %s", id, in.By, sealName, s.id)
	}
	c := new(Credentials)
	return c, json.Unmarshal(text, c)
}
