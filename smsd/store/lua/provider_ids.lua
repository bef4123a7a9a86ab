-- provider_ids: what is kept of the provider's ids of messages that were sent.
-- include: fields, finished, recipients
-- takes: ids
-- keys: status*
-- answers: {{the provider's id or '', of a campaign's message the value of its recipient or ''}, ...}
-- changes: none

local function run(request, keys)
  local found = {}
  for i, id in ipairs(request.ids) do
    local _, _, _, value = recipient_of(id)
    local name = not value and (field_of(finished(id) or {}, 'provider_id') or redis.pcall('HGET', keys[i], 'provider_id'))
    found[i] = {type(name) == 'string' and name or '', value or ''}
  end
  return found
end
