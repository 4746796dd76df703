-- The tables of the register that the manifest asks, as this adapter's source has them: they hold nobody.
create table setting (setting_id integer primary key, prefix text unique, name text, urn text, la_code text, postcode text, phone text, active boolean);
create table reach_postcode (postcode text, lsoa11 text, lsoa21 text, setting_id integer references setting, from_date date, to_date date);
create table family (family_id text primary key, setting_id integer references setting, registered_on date, registered_by text, source text, status text, left_on date);
create table member (member_id text primary key, family_id text references family, role text, first_name text, known_as text, middle_name text, surname text,
  dob date, edd date, sex text, ethnicity_dfe text, first_language text, interpreter boolean, disability text, nhs_number char(10), nhs_status text,
  deceased_on date, do_not_contact boolean);
create index member_nhs_number on member (nhs_number);
create table relationship (child_member_id text references member, carer_member_id text references member, type text, parental_responsibility text, lives_with boolean, from_date date, to_date date);
create table address (address_id integer primary key, family_id text references family, member_id text references member, line1 text, line2 text, line3 text, line4 text,
  postcode text, uprn text, from_date date, to_date date, confidential boolean);
create table professional_link (member_id text references member, kind text, name text, organisation text, ods_code text, phone text);
create table eligibility (eligibility_id integer primary key, member_id text references member, scheme text, basis text, code_dern text, status text,
  valid_from date, valid_to date);
create table consent (consent_id integer primary key, subject_member_id text references member, given_by_member_id text references member, capacity text, form_version text,
  scope text, decision text, obtained_on date, expires_on date, withdrawn_on date, evidence text, given_in text, helped_by text,
  recorded_by text);
create table event (event_id text primary key, setting_id integer references setting, category text, title text, starts_at text, ends_at text,
  universal_or_targeted text, sensitive boolean, venue text);
create table attendance (event_id text references event, member_id text references member, status text, recorded_at text, recorded_by text);
create index attendance_member on attendance (member_id);
create table contact (contact_id integer primary key, family_id text references family, occurred_at text, kind text, with_org text, note text, note_sensitive boolean);
create table referral_in (referral_id text primary key, nhs_number char(10) not null, status text not null, kind text not null, priority text,
  requested_at text not null, service text, reason text, from_org text not null, from_name text, contact_name text, contact_phone text, note text);
create table recall_in (recall_id text primary key, referral_id text not null, status text not null, because text not null, receipt text not null,
  recalled_at text not null);
