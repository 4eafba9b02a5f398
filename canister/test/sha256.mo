import Sha256 "../src/Sha256";
import Check "Check";

// the examples of FIPS 180-4
Check.blob("sha256 of nothing", Sha256.ofBlob(""), "\e3\b0\c4\42\98\fc\1c\14\9a\fb\f4\c8\99\6f\b9\24\27\ae\41\e4\64\9b\93\4c\a4\95\99\1b\78\52\b8\55");
Check.blob("sha256 of abc", Sha256.ofBlob("abc"), "\ba\78\16\bf\8f\01\cf\ea\41\41\40\de\5d\ae\22\23\b0\03\61\a3\96\17\7a\9c\b4\10\ff\61\f2\00\15\ad");

// every length around the block boundaries, against Node's
let random = Check.Random(1);
for (size in [1, 2, 31, 32, 33, 54, 55, 56, 57, 63, 64, 65, 118, 119, 120, 127, 128, 129, 1_000, 4_096, 10_001].values()) {
  let input = random.blob(size);
  Check.examine("sha256", [Check.hex(input), Check.hex(Sha256.ofBlob(input))]);
};
