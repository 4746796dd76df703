-- The tables of the register, and one invented household: the person 9990000107, born 2024-03-14.
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
INSERT INTO "address" VALUES(1,'WC500001',NULL,'1 Sample Lane','Northtown',NULL,NULL,'ZZ99 1AZ',NULL,'2024-06-12',NULL,0);
INSERT INTO "attendance" VALUES('E001','WC000001','attended','2026-01-05T08:00:00','reception');
INSERT INTO "attendance" VALUES('E002','WC000001','attended','2026-01-05T08:00:00','reception');
INSERT INTO "attendance" VALUES('E003','WC000001','dna','2026-01-05T08:00:00','reception');
INSERT INTO "attendance" VALUES('E005','WC000001','booked','2026-01-05T08:00:00','reception');
INSERT INTO "attendance" VALUES('E004','WC900001','attended','2026-01-05T08:00:00','reception');
INSERT INTO "attendance" VALUES('E006','WC000001','cancelled','2026-01-05T08:00:00','reception');
INSERT INTO "consent" VALUES(1,'WC000001','WC900001','PR','2025-1','store','permit','2024-06-12',NULL,NULL,'paper','en','none','reception');
INSERT INTO "consent" VALUES(2,'WC000001','WC900001','PR','2025-1','share_health','permit','2024-06-12',NULL,NULL,'paper','en','none','reception');
INSERT INTO "consent" VALUES(3,'WC000001','WC900001','PR','2025-1','share_la','permit','2024-06-12',NULL,NULL,'paper','en','none','reception');
INSERT INTO "consent" VALUES(4,'WC000001','WC900001','PR','2025-1','share_centres','permit','2024-06-12',NULL,NULL,'paper','en','none','reception');
INSERT INTO "consent" VALUES(5,'WC000001','WC900001','PR','2025-1','research','permit','2024-06-12',NULL,NULL,'paper','en','none','reception');
INSERT INTO "contact" VALUES(1,'WC500001','2024-06-12T09:00:00','visit',NULL,'Came to look round',0);
INSERT INTO "eligibility" VALUES(1,'WC000001','2YO','ECO','50012345678','taken-up','2025-11-06','2026-05-05');
INSERT INTO "event" VALUES('E001',1,'stay-and-play','Stay and play','2025-12-15T10:00:00','2025-12-15T11:30:00','universal',0,'Garden room');
INSERT INTO "event" VALUES('E002',1,'weigh-in','Baby weigh-in clinic','2025-12-22T10:00:00','2025-12-22T11:30:00','universal',0,'Health room');
INSERT INTO "event" VALUES('E003',1,'rhyme-time','Rhyme time','2025-12-29T10:00:00','2025-12-29T11:30:00','universal',0,'Library');
INSERT INTO "event" VALUES('E004',1,'parenting-course','Safer relationships group','2025-12-26T10:00:00','2025-12-26T11:30:00','targeted',1,'Quiet room');
INSERT INTO "event" VALUES('E005',1,'speech-and-language','Speech and language group','2026-01-12T10:00:00','2026-01-12T11:30:00','universal',0,'Garden room');
INSERT INTO "event" VALUES('E006',1,'outreach-visit','Outreach visit','2025-12-31T10:00:00','2025-12-31T11:30:00','universal',0,'Home visit');
INSERT INTO "family" VALUES('WC500001',1,'2024-06-12','reception','hv','registered',NULL);
INSERT INTO "member" VALUES('WC900001','WC500001','carer','Alex',NULL,NULL,'Testwell','1994-07-01',NULL,'F','NOBT','eng',0,NULL,NULL,'none',NULL,0);
INSERT INTO "member" VALUES('WC000001','WC500001','child','Amara',NULL,NULL,'Testwell','2024-03-14',NULL,'F','NOBT','eng',0,NULL,'9990000107','traced',NULL,0);
INSERT INTO "professional_link" VALUES('WC000001','health_visitor',NULL,'Meadowvale Community Health','RXX99',NULL);
INSERT INTO "relationship" VALUES('WC000001','WC900001','mother','Y',1,'2024-03-14',NULL);
INSERT INTO "setting" VALUES(1,'WC','Willow Children''s Centre','199901','E08999901','ZZ99 9WZ','01632 960190',1);
