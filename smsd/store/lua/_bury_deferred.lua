-- _bury_deferred: set a deferred message aside as a dead letter, in whatever state it is.
-- include: counters, damage, dead_letters, deferred, fields, finished, full, status
local INVALID = {reason = 'invalid', code = 'entry', detail = 'what was deferred cannot be read'}

-- It waits under its id, or `name`.
local function bury_deferred(id, status, packed, why, name)
  local fields = unpacked(packed) or {'message', packed}
  local attempts, high = field_of(fields, 'attempts') or '0', field_of(fields, 'priority') == 'high'
  local why_dead = {'reason', why.reason, 'code', why.code, 'detail', why.detail, 'attempts', attempts}
  local ours = {'id', id, 'failed_at', NOW, 'lane', high and 'h' or 'n'}
  need(DEFERRED, MESSAGES)
  allow_writes_while_full()
  local letter = add_dead_letter(fields, append_all(ours, why_dead))
  forget_deferred(name or id)
  count('buried')
  local state = known_state(id, status)
  if state and state ~= 'deferred' then return end -- what it says stays true
  record(status, id, 'dead', NOW .. ' dead ' .. why.reason, why.reason, append_all({'letter', letter}, why_dead))
end
