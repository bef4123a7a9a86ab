-- drop: throw a dead letter away for good.
-- include: counters, damage, entries, fields, status
-- takes: letter
-- keys: status
-- answers: done | gone
-- changes: dead, status, finished, events, counters, campaign, campaigns_active, contacts

local function run(request, keys)
  local status = keys[1]
  need(DEAD)
  local fields = entry_of(DEAD, request.letter)
  if not fields then return 'gone' end
  redis.call('XDEL', DEAD, request.letter)
  count('dropped')
  record(status, field_of(fields, 'id') or '', 'dropped', NOW .. ' dropped')
  return 'done'
end
