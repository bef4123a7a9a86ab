-- audience_add: add a few contacts to an audience that readers see, all or none.
-- include: audience, damage
-- takes: name, import, was, record, contacts, kept
-- keys: audiences, audience
-- answers: gone | changed | {how many are new, how many changed, how many were the same, its revision}
-- changes: audiences, audience, contacts
--
-- `contacts` holds each number, without its plus sign, and its values; no number twice. `kept`: places of values that stay
-- as they were. `record` is what the record becomes, in two halves: the answer stands between them. 'changed' where it is
-- not `was` any more.

local function answer_in(current, import)
  local found = string.match(current, '"id":"' .. string.gsub(import, '%-', '%%-') .. '","counts":(%[[%d,]+%])')
  return found and cjson.decode(found)
end

-- What there is of each, before anything is written: a bucket that cannot be used refuses them all.
local function values_before(version, contacts)
  local before = {}
  for i = 1, #contacts, 2 do before[i] = redis.call('HGET', bucket_of(version, contacts[i]), contacts[i]) end
  return before
end

local function add_contact(version, number, values, before, counts)
  local place = not before and 1 or before ~= values and 2 or 3
  if place < 3 then redis.call('HSET', bucket_of(version, number), number, values) end
  counts[place] = counts[place] + 1
end

local function run(request, keys)
  local audiences, key = unpack(keys)
  need_hash(audiences)
  local current = redis.call('HGET', audiences, request.name) or ''
  local answer = answer_in(current, request.import)
  if answer then return answer end -- our reply was lost
  if current ~= request.was then return 'changed' end
  local version = opened(key)
  if not version then return 'gone' end
  local contacts = request.contacts
  local before, counts = values_before(version, contacts), {0, 0, 0, version.revision + 1}
  for i = 1, #contacts, 2 do
    local values = before[i] and merged(contacts[i + 1], before[i], request.kept) or contacts[i + 1]
    add_contact(version, contacts[i], values, before[i], counts)
  end
  version.contacts = version.contacts + counts[1]
  split_where_full(version)
  redis.call('HSET', key, 'contacts', version.contacts, 'buckets', version.buckets, 'revision', counts[4])
  redis.call('HSET', audiences, request.name, table.concat({
    request.record[1], '[' .. table.concat(counts, ',') .. ']', request.record[2],
  }))
  return counts
end
