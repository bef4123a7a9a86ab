-- audience_add: add a few contacts to an audience that readers see, all or none.
-- include: audience, damage
-- takes: name, import, was, record, contacts, kept
-- keys: audiences, audience
-- answers: gone | changed | {how many are new, how many changed, how many were the same, its revision}
-- changes: audiences, audience, contacts
--
-- `record` is what the record becomes, in two halves: the answer stands between them. 'changed' where it is not `was` any
-- more. `kept`: places of values that stay as they were.

local function answer_in(current, import)
  local found = string.match(current, '"id":"' .. string.gsub(import, '%-', '%%-') .. '","counts":(%[[%d,]+%])')
  return found and cjson.decode(found)
end

local function add_contact(version, packed, kept, counts)
  local number, values = parted(packed)
  local bucket = bucket_of(version, number)
  local before = redis.call('HGET', bucket, number)
  local after = before and merged(values, before, kept) or values
  local place = not before and 1 or before ~= after and 2 or 3
  if place < 3 then redis.call('HSET', bucket, number, after) end
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
  for _, packed in ipairs(request.contacts) do need_hash(bucket_of(version, (parted(packed)))) end
  local counts = {0, 0, 0, version.revision + 1}
  for _, packed in ipairs(request.contacts) do add_contact(version, packed, request.kept, counts) end
  version.contacts = version.contacts + counts[1]
  split_where_full(version)
  redis.call('HSET', key, 'contacts', version.contacts, 'buckets', version.buckets, 'revision', counts[4])
  redis.call('HSET', audiences, request.name, table.concat({
    request.record[1], '[' .. table.concat(counts, ',') .. ']', request.record[2],
  }))
  return counts
end
