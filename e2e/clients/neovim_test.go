package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
)

// neovimScript does what somebody at the keyboard does, and writes down what Neovim shows.
const neovimScript = `
local saw = {}
local ok, err = pcall(function()
  local dir = '%s'
  local id = vim.lsp.start_client({ name = 'flexgw', cmd = { '%s', 'lsp' }, root_dir = dir,
    workspace_folders = { { uri = vim.uri_from_fname(dir), name = 'gateways' } } })
  vim.lsp.buf_attach_client(0, id)
  local errors = function() return vim.diagnostic.get(0, { severity = vim.diagnostic.severity.ERROR }) end
  assert(vim.wait(60000, function() return #errors() > 0 end, 20), 'no diagnostic came')
  for _, d in ipairs(errors()) do
    table.insert(saw, string.format('%%d %%s', d.lnum + 1, d.code or (d.user_data and d.user_data.lsp and d.user_data.lsp.code) or '?'))
  end
  local client = vim.lsp.get_client_by_id(id)
  local ask = function(method, params)
    local all, why = vim.lsp.buf_request_sync(0, method, params, 60000)
    assert(all and all[id] and not all[id].err, method .. ': ' .. vim.inspect({ all, why }))
    return all[id].result
  end
  vim.api.nvim_win_set_cursor(0, { errors()[1].lnum + 1, errors()[1].col })
  local hover = ask('textDocument/hover', vim.lsp.util.make_position_params(0, client.offset_encoding))
  local params = vim.lsp.util.make_range_params(0, client.offset_encoding)
  params.context = { diagnostics = {}, only = { 'quickfix' } }
  local actions = ask('textDocument/codeAction', params)
  table.insert(saw, #actions .. ' action')
  vim.lsp.util.apply_workspace_edit(actions[1].edit, client.offset_encoding)
  assert(vim.wait(60000, function() return #errors() == 0 end, 20), 'the diagnostic stays')
  local edits = ask('textDocument/formatting', { textDocument = vim.lsp.util.make_text_document_params(), options = { tabSize = 2, insertSpaces = true } })
  vim.lsp.util.apply_text_edits(edits, 0, client.offset_encoding)
  vim.cmd('write')
end)
if not ok then table.insert(saw, 'failed: ' .. tostring(err)) end
vim.fn.writefile({ vim.fn.json_encode(saw) }, '%s')
vim.cmd('qall!')
`

// TestNeovim opens a file with a mistake, waits for the mark, takes the action that mends it, and formats.
func TestNeovim(t *testing.T) {
	long(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const right = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata:\n  name: orders-route\nspec:\n  targetRef:\n    name: orders\n  policyRef:\n    name: route\n  config:\n    destinationRef:\n      name: orders\n"
	file := write("gateways/route.yaml", strings.Replace(strings.Replace(right, "destinationRef:", "destinationReff:", 1), "    name: orders\n  policyRef", "        name: orders\n  policyRef", 1))
	write("gateways/api.yaml", "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: orders\nspec:\n  address: http://0.0.0.0:8081/orders\n")
	write("gateways/service.yaml", "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Service\nmetadata:\n  name: orders\nspec:\n  address: http://orders.example.org:8080\n")
	saw := filepath.Join(dir, "saw.json")
	script := write("script.lua", fmt.Sprintf(neovimScript, filepath.Join(dir, "gateways"), harness.Binary(t), saw))
	cmd := exec.Command("nvim", "--headless", "-u", "NONE", "-i", "NONE", "-n", "-c", "luafile "+script, file)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_CACHE_HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nvim: %v\n%s", err, out)
	}
	var got []string
	b, err := os.ReadFile(saw)
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "[11 shape/unknown-field 1 action]"; fmt.Sprint(got) != want {
		t.Errorf("Neovim shows %q, want %s\n%s", got, want, out)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != right {
		t.Errorf("%v: after the action and formatting:\n%s", err, now)
	}
}
