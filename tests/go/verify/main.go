// Reads checks as JSON and says how many of them the Go team's own code (golang.org/x/mod/sumdb) agrees with.
//
// The note is opened with the log's key and the Ed25519 cosignature keys (c2sp.org/tlog-cosignature); ML-DSA lines
// are unknown to it. Proofs are checked against the head in the note.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index int64
	Leaf  tlog.Hash
	Path  []tlog.Hash
}

type consistency struct {
	Old   int64
	Root  tlog.Hash
	Proof []tlog.Hash
}

type checks struct {
	Note        string
	Log         string
	Witnesses   []string
	Inclusion   []inclusion
	Consistency []consistency
}

type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }

func (c *cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	message := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), text...)
	return ed25519.Verify(c.key, message, signature[8:])
}

func newCosigner(vkey string) *cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	must(err)
	if len(key) != 33 || key[0] != 0x04 {
		log.Fatal("not the vkey of an Ed25519 cosigner")
	}
	id := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	if parts[1] != fmt.Sprintf("%x", id[:4]) {
		log.Fatal("the id of a vkey is not that of its key")
	}
	return &cosigner{parts[0], binary.BigEndian.Uint32(id[:]), key[1:]}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	var asked checks
	must(json.NewDecoder(os.Stdin).Decode(&asked))
	ours, err := note.NewVerifier(asked.Log)
	must(err)
	known := []note.Verifier{ours}
	for _, vkey := range asked.Witnesses {
		known = append(known, newCosigner(vkey))
	}
	opened, err := note.Open([]byte(asked.Note), note.VerifierList(known...))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)

	included, consistent := 0, 0
	for _, one := range asked.Inclusion {
		if tlog.CheckRecord(one.Path, size, root, one.Index, one.Leaf) == nil {
			included++
		}
	}
	for _, one := range asked.Consistency {
		if tlog.CheckTree(one.Proof, size, root, one.Old, one.Root) == nil {
			consistent++
		}
	}
	var out bytes.Buffer
	must(json.NewEncoder(&out).Encode(map[string]int{
		"known": len(opened.Sigs), "unknown": len(opened.UnverifiedSigs), "included": included, "consistent": consistent,
	}))
	os.Stdout.Write(out.Bytes())
}
