// Reads an export with the reference code of Go's checksum database, golang.org/x/mod/sumdb: notes,
// hashes, tiles and proofs are its own. Ours is the layout of the directory alone, as C2SP tlog-tiles
// has it.
//
// Prints the size and how many known keys have signed, or what is wrong.
package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	size, signatures, err := accept(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(size, signatures)
}

func accept(dir string) (int64, int, error) {
	signed, err := open(dir)
	if err != nil {
		return 0, 0, err
	}
	tree, err := checkpoint(signed.Text)
	if err != nil {
		return 0, 0, err
	}
	hashes, err := fromEntries(dir, tree)
	if err != nil {
		return 0, 0, err
	}
	if err := checkTiles(dir, tree, hashes); err != nil {
		return 0, 0, err
	}
	return tree.N, len(signed.Sigs), checkProofs(dir, tree)
}

// open verifies the note with the keys that the export names.
func open(dir string) (*note.Note, error) {
	keys, err := os.ReadFile(filepath.Join(dir, "log.vkey"))
	if err != nil {
		return nil, err
	}
	var verifiers []note.Verifier
	for _, line := range strings.Split(strings.TrimSuffix(string(keys), "\n"), "\n") {
		verifier, err := note.NewVerifier(line)
		if err != nil {
			return nil, err
		}
		verifiers = append(verifiers, verifier)
	}
	bytes, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return nil, err
	}
	return note.Open(bytes, note.VerifierList(verifiers...))
}

// checkpoint reads origin, size and root (C2SP tlog-checkpoint).
func checkpoint(text string) (tlog.Tree, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return tlog.Tree{}, errors.New("the checkpoint is not of three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, errors.New("the root is not a hash")
	}
	return tlog.Tree{N: size, Hash: tlog.Hash(root)}, nil
}

// fromEntries computes all hashes of the tree from the entries alone.
func fromEntries(dir string, tree tlog.Tree) (tlog.HashReader, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for first := int64(0); first < tree.N; first += 1 << height {
		width := min(tree.N-first, 1<<height)
		path := path(tlog.Tile{H: height, L: -1, N: first >> height, W: int(width)})
		bundle, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		for leaf := first; leaf < first+width; leaf++ {
			if len(bundle) < 2 {
				return nil, fmt.Errorf("%s ends early", path)
			}
			length := int(bundle[0])<<8 | int(bundle[1])
			if len(bundle) < 2+length {
				return nil, fmt.Errorf("%s ends early", path)
			}
			more, err := tlog.StoredHashes(leaf, bundle[2:2+length], reader)
			if err != nil {
				return nil, err
			}
			stored = append(stored, more...)
			bundle = bundle[2+length:]
		}
		if len(bundle) != 0 {
			return nil, fmt.Errorf("%s goes on", path)
		}
	}
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, errors.New("the entries don't lead to the root of the checkpoint")
	}
	return reader, nil
}

// checkTiles compares each tile with that of the entries.
func checkTiles(dir string, tree tlog.Tree, hashes tlog.HashReader) error {
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		expected, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			return err
		}
		there, err := os.ReadFile(filepath.Join(dir, path(tile)))
		if err != nil {
			return err
		}
		if !bytes.Equal(there, expected) {
			return fmt.Errorf("%s is not the tile of its entries", path(tile))
		}
	}
	return nil
}

// checkProofs proves some leaves and earlier trees out of the tiles.
func checkProofs(dir string, tree tlog.Tree) error {
	reader := tlog.TileHashReader(tree, tiles(dir))
	for _, leaf := range []int64{0, tree.N / 2, tree.N - 1} {
		if leaf < 0 {
			continue
		}
		proof, err := tlog.ProveRecord(tree.N, leaf, reader)
		if err != nil {
			return err
		}
		hash, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, leaf)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, leaf, hash[0]); err != nil {
			return err
		}
		earlier, err := tlog.TreeHash(leaf+1, reader)
		if err != nil {
			return err
		}
		grown, err := tlog.ProveTree(tree.N, leaf+1, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(grown, tree.N, tree.Hash, leaf+1, earlier); err != nil {
			return err
		}
	}
	return nil
}

type tiles string

func (tiles) Height() int                         { return height }
func (tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (dir tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		bytes, err := os.ReadFile(filepath.Join(string(dir), path(tile)))
		if err != nil {
			return nil, err
		}
		found = append(found, bytes)
	}
	return found, nil
}

// path is that of C2SP: without the height, and with entries for data.
func path(tile tlog.Tile) string {
	rest := strings.TrimPrefix(tile.Path(), "tile/8/")
	if entries, isData := strings.CutPrefix(rest, "data/"); isData {
		return "tile/entries/" + entries
	}
	return "tile/" + rest
}
