package candid

import (
	"strings"
	"testing"
)

// pageOf is the raw answer record { next; items }, in the order of the hashes.
func pageOf(nextType, itemsType, values string) []byte {
	return didl([]string{
		oRecord + "\x02" + uvarint(uint64(hashNext)) + nextType + uvarint(uint64(hashItems)) + itemsType,
		oVec + oText,
		oVec + oNull,
		oOpt + "\x01",
	}, "\x01\x00", values)
}

func TestDecodePage(t *testing.T) {
	if hashNext > hashItems {
		t.Fatal("the fields of pageOf stand in another order")
	}
	for name, tt := range map[string]struct {
		raw  []byte
		want Page
	}{
		"empty":     {didl([]string{oVec + oText}, "\x01\x00", "\x00"), Page{}},
		"vec empty": {didl([]string{oVec + oEmpty}, "\x01\x00", "\x00"), Page{}},
		"nested, as the relay canister takes it": {
			didl([]string{oVec + "\x01", oOpt + "\x01"}, "\x01\x00", "\x01"+strings.Repeat("\x01", 1000)+"\x00"), Page{Items: 1},
		},
		"nulls":             {didl([]string{oVec + oNull}, "\x01\x00", uvarint(1000)), Page{Items: 1000}},
		"blob":              {didl([]string{oVec + oNat8}, "\x01\x00", "\x03abc"), Page{Items: 3}},
		"more results":      {didl([]string{oVec + oNat8}, "\x02\x00"+oNat, "\x03abc\x05"), Page{Items: 3}},
		"a record":          {pageOf(oNat, "\x01", "\x07\x02\x01a\x01b"), Page{Items: 2, Next: 7, HasNext: true}},
		"a record of none":  {pageOf(oNat, "\x01", "\x00\x00"), Page{HasNext: true}},
		"a record of nulls": {pageOf(oNat, "\x02", "\x05\x05"), Page{Items: 5, Next: 5, HasNext: true}},
		"next is a nat8":    {pageOf(oNat8, "\x01", "\xfe\x01\x01a"), Page{Items: 1, Next: 0xfe, HasNext: true}},
		"next is a nat64":   {pageOf(oNat64, "\x01", "\x01\x02\x00\x00\x00\x00\x00\xf0\x00"), Page{Next: 0xf000_0000_0000_0201, HasNext: true}},
		"the largest next":  {pageOf(oNat, "\x01", uvarint(1<<64-1)+"\x00"), Page{Next: 1<<64 - 1, HasNext: true}},
		"other fields": {didl([]string{
			oRecord + "\x04\x05\x01" + uvarint(uint64(hashNext)) + oNat + uvarint(uint64(hashItems)) + "\x01" + uvarint(0xffffffff) + oText,
			oVec + oText,
		}, "\x01\x00", "\x01\x01x"+"\x09"+"\x01\x01a"+"\x01z"), Page{Items: 1, Next: 9, HasNext: true}},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := DecodePage(tt.raw)
			equal(t, err, nil)
			equal(t, page, tt.want)
		})
	}
}

func TestDecodePageRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":             {EncodeEmpty(), "a value was expected"},
		"something else":      {EncodeNat(3), "expected a vec, or a record with items and next, found nat"},
		"an opt vec":          {didl([]string{oOpt + "\x01", oVec + oNat}, "\x01\x00", "\x00"), "expected a vec, or a record with items and next, found opt"},
		"too many nulls":      {didl([]string{oVec + oNull}, "\x01\x00", uvarint(1<<40)), "too many values for the size of the input"},
		"too many in one":     {pageOf(oNat, "\x02", "\x00"+uvarint(1<<40)), "too many values for the size of the input"},
		"no next":             {didl([]string{oRecord + "\x01" + uvarint(uint64(hashItems)) + "\x01", oVec + oText}, "\x01\x00", "\x00"), "without the fields items and next"},
		"no items":            {didl([]string{oRecord + "\x01" + uvarint(uint64(hashNext)) + oNat}, "\x01\x00", "\x00"), "without the fields items and next"},
		"next is an int":      {pageOf("\x7c", "\x01", "\x01\x00"), "field next: candid: expected nat, found int"},
		"next is cut off":     {pageOf(oNat64, "\x01", "1234567"), "field next: "},
		"next beyond 64 bits": {pageOf(oNat, "\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00"), "field next: "},
		"items are no vec":    {pageOf(oNat, "\x03", "\x00\x00"), "field items: candid: expected a vec, found opt"},
		"items of a lie":      {pageOf(oNat, "\x01", "\x00\x02\x01a"), "field items: "},
		"bytes after it":      {pageOf(oNat, "\x01", "\x00\x00\x00"), "bytes after the last argument"},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := DecodePage(tt.raw)
			errorContains(t, err, tt.want)
			equal(t, page, Page{})
		})
	}
}
