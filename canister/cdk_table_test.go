package canister_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The integration tests of the CDK, by file.
var cdkTests = map[string][]string{
	"a_ws_open": {
		"test_1_fail_for_an_anonymous_client",
		"test_2_should_open_a_connection",
		"test_3_fails_for_a_client_with_the_same_nonce",
		"test_4_should_open_a_connection_for_the_same_client_with_a_different_nonce",
	},
	"b_ws_message": {
		"test_1_fails_if_client_is_not_registered",
		"test_2_fails_if_client_sends_a_message_with_a_different_client_key",
		"test_3_should_send_a_message_from_a_registered_client",
		"test_4_fails_if_client_sends_a_message_with_a_wrong_sequence_number",
		"test_5_fails_if_client_sends_a_wrong_service_message",
		"test_6_should_send_a_service_message_from_a_registered_client",
	},
	"c_ws_get_messages": {
		"test_1_non_registered_gateway_should_receive_empty_messages",
		"test_2_registered_gateway_should_receive_only_open_message_if_no_messages_sent_initial_nonce",
		"test_3_registered_gateway_can_receive_correct_amount_of_messages",
		"test_4_registered_gateway_can_receive_certified_messages",
		"test_5_messages_for_gateway_are_deleted_if_old",
		"test_6_empty_gateway_can_get_messages_until_next_keep_alive_check",
		"test_7_empty_gateway_can_get_messages_until_next_keep_alive_check_if_removed_before_ack_interval",
	},
	"d_ws_close": {
		"test_1_fails_if_gateway_is_not_registered",
		"test_2_fails_if_client_is_not_registered",
		"test_3_fails_if_client_is_not_registered_to_gateway",
		"test_4_should_close_the_websocket_for_a_registered_client",
	},
	"e_send": {
		"test_1_fails_if_sending_a_message_to_a_non_registered_client",
		"test_2_should_send_a_message_to_a_registered_client",
	},
	"f_close": {
		"test_1_fails_closing_for_non_registered_client",
		"test_2_should_close_connection_for_registered_client",
	},
	"g_messages_acknowledgement": {
		"test_1_client_should_receive_ack_messages",
		"test_2_client_is_removed_if_keep_alive_timeout_is_reached",
		"test_3_client_is_not_removed_if_it_sends_a_keep_alive_before_timeout",
		"test_4_client_is_not_removed_if_it_connects_while_canister_is_waiting_for_keep_alive",
	},
	"h_multiple_gateways": {
		"test_1_client_can_switch_to_another_gateway",
	},
}

var (
	cdkRow   = regexp.MustCompile(`^\| (test_\d\w+) \| [^|]+ \| ([^|]+) \|$`)
	cdkFile  = regexp.MustCompile(`^\| \*\*(\w+)\*\* \| \| \|$`)
	testName = regexp.MustCompile(`\bTest[A-Z]\w+`)
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Z]\w+)\(`)
)

// The documentation has a row for each test of the CDK, and the tests named there exist.
func TestCDKTable(t *testing.T) {
	raw, err := os.ReadFile(filepath.FromSlash("../docs/cdk-differences.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{} // file/test -> where it is tested
	file := ""
	for _, line := range strings.Split(string(raw), "\n") {
		if m := cdkFile.FindStringSubmatch(line); m != nil {
			file = m[1]
		}
		if m := cdkRow.FindStringSubmatch(line); m != nil && file != "" {
			rows[file+"/"+m[1]] = m[2]
		}
	}
	for file, names := range cdkTests {
		for _, name := range names {
			if !testName.MatchString(rows[file+"/"+name]) {
				t.Errorf("%s/%s: no row that names a test", file, name)
			}
		}
	}

	exists := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunc.FindAllStringSubmatch(string(source), -1) {
			exists[m[1]] = true
		}
	}
	for _, name := range testName.FindAllString(string(raw), -1) {
		if !exists[name] {
			t.Errorf("the page names %s, which does not exist", name)
		}
	}
	for name := range exists {
		if strings.HasPrefix(name, "TestCDK") && name != "TestCDKTable" && !strings.Contains(string(raw), name) {
			t.Errorf("the page does not name %s", name)
		}
	}
}
