BEGIN TRANSACTION;
CREATE TABLE buffer (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL);
INSERT INTO "buffer" VALUES('dbe42cc09c16704aa3d60127c60b4e1646fc6da1d4764aa517de053e65a663d7',X'6172726179');
CREATE TABLE curve (
        trial TEXT NOT NULL, software TEXT NOT NULL, metric TEXT NOT NULL, points BLOB NOT NULL,
        PRIMARY KEY (trial, software, metric)
    ) WITHOUT ROWID;
INSERT INTO "curve" VALUES('216e23747f477585','fbe0f4ef0061c9e5','error',X'35EA2740F1E25F3FF754063F');
INSERT INTO "curve" VALUES('216e23747f477585','fbe0f4ef0061c9e5','training_loss',X'35EA2740F1E25F3FF754063F');
INSERT INTO "curve" VALUES('3e95ee152aadb82c','573d4fec9390ae47','error',X'000020400000A03F5555553F');
INSERT INTO "curve" VALUES('3e95ee152aadb82c','573d4fec9390ae47','training_loss',X'000020400000A03F5555553F');
INSERT INTO "curve" VALUES('3e95ee152aadb82c','fbe0f4ef0061c9e5','error',X'000020400000A03F5555553F');
INSERT INTO "curve" VALUES('3e95ee152aadb82c','fbe0f4ef0061c9e5','training_loss',X'000020400000A03F5555553F');
INSERT INTO "curve" VALUES('7e326cc051b51117','fbe0f4ef0061c9e5','error',X'55BB26401C4F5E3FAB62053F');
INSERT INTO "curve" VALUES('7e326cc051b51117','fbe0f4ef0061c9e5','training_loss',X'55BB26401C4F5E3FAB62053F');
INSERT INTO "curve" VALUES('9faba7c4603a9c87','fbe0f4ef0061c9e5','error',X'55BB26401C4F5E3FAB62053F');
INSERT INTO "curve" VALUES('9faba7c4603a9c87','fbe0f4ef0061c9e5','training_loss',X'55BB26401C4F5E3FAB62053F');
INSERT INTO "curve" VALUES('a697a891571677df','fbe0f4ef0061c9e5','error',X'55BB26401C4F5E3FAB62053F');
INSERT INTO "curve" VALUES('a697a891571677df','fbe0f4ef0061c9e5','training_loss',X'55BB26401C4F5E3FAB62053F');
INSERT INTO "curve" VALUES('b1305388db439e57','fbe0f4ef0061c9e5','error',X'000020400000A03F5555553F');
INSERT INTO "curve" VALUES('b1305388db439e57','fbe0f4ef0061c9e5','training_loss',X'000020400000A03F5555553F');
INSERT INTO "curve" VALUES('cb5b611babd52ac5','fbe0f4ef0061c9e5','error',X'000020400000A03F5555553F');
INSERT INTO "curve" VALUES('cb5b611babd52ac5','fbe0f4ef0061c9e5','training_loss',X'000020400000A03F5555553F');
INSERT INTO "curve" VALUES('f2ba7ac959f0995e','fbe0f4ef0061c9e5','error',X'824125408241A53F58575C3F');
INSERT INTO "curve" VALUES('f2ba7ac959f0995e','fbe0f4ef0061c9e5','training_loss',X'824125408241A53F58575C3F');
CREATE TABLE drawn (
        search TEXT NOT NULL, software TEXT NOT NULL, position INTEGER NOT NULL, point TEXT NOT NULL,
        PRIMARY KEY (search, software, position)
    ) WITHOUT ROWID;
INSERT INTO "drawn" VALUES('a search','fbe0f4ef0061c9e5',0,'[{"learning_rate":0.1},{}]');
CREATE TABLE ending (
        trial TEXT NOT NULL, software TEXT NOT NULL, target REAL, kind TEXT NOT NULL, step INTEGER,
        PRIMARY KEY (trial, software)
    ) WITHOUT ROWID;
INSERT INTO "ending" VALUES('216e23747f477585','fbe0f4ef0061c9e5',0.1,'reached',40);
INSERT INTO "ending" VALUES('3e95ee152aadb82c','fbe0f4ef0061c9e5',0.1,'reached',40);
INSERT INTO "ending" VALUES('7e326cc051b51117','fbe0f4ef0061c9e5',0.1,'reached',40);
INSERT INTO "ending" VALUES('9faba7c4603a9c87','fbe0f4ef0061c9e5',0.1,'reached',40);
INSERT INTO "ending" VALUES('a697a891571677df','fbe0f4ef0061c9e5',0.1,'reached',40);
INSERT INTO "ending" VALUES('b1305388db439e57','fbe0f4ef0061c9e5',0.1,'reached',40);
INSERT INTO "ending" VALUES('cb5b611babd52ac5','fbe0f4ef0061c9e5',0.1,'reached',40);
INSERT INTO "ending" VALUES('f2ba7ac959f0995e','fbe0f4ef0061c9e5',0.1,'reached',40);
CREATE TABLE example_score (
        trial TEXT NOT NULL, software TEXT NOT NULL, examples INTEGER NOT NULL, form TEXT NOT NULL,
        scores BLOB NOT NULL, PRIMARY KEY (trial, software)
    ) WITHOUT ROWID;
INSERT INTO "example_score" VALUES('216e23747f477585','fbe0f4ef0061c9e5',4,'bits',X'789CDB000000B100B1');
INSERT INTO "example_score" VALUES('3e95ee152aadb82c','573d4fec9390ae47',4,'bits',X'789CDB000000B100B1');
INSERT INTO "example_score" VALUES('3e95ee152aadb82c','fbe0f4ef0061c9e5',4,'bits',X'789CDB000000B100B1');
INSERT INTO "example_score" VALUES('a697a891571677df','fbe0f4ef0061c9e5',4,'bits',X'789CDB000000B100B1');
INSERT INTO "example_score" VALUES('f2ba7ac959f0995e','fbe0f4ef0061c9e5',4,'bits',X'789CDB000000B100B1');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('current','ed20867591f2e823');
INSERT INTO "meta" VALUES('format','5');
INSERT INTO "meta" VALUES('groups','{}');
INSERT INTO "meta" VALUES('software','fbe0f4ef0061c9e5');
CREATE TABLE own_code (
        digest TEXT PRIMARY KEY, facts TEXT NOT NULL, modules TEXT NOT NULL, settings TEXT NOT NULL,
        buffers TEXT NOT NULL, data BLOB NOT NULL
    );
INSERT INTO "own_code" VALUES('b1bfd956ae88dc35','{"owner": "problem ''bowl''", "python": "3.12", "kept_at": "2000-01-01", "files": []}','{"m": ["/m.py", "X = 1\n", false]}','{}','["dbe42cc09c16704aa3d60127c60b4e1646fc6da1d4764aa517de053e65a663d7"]',X'636F6465');
CREATE TABLE program (digest TEXT PRIMARY KEY, software TEXT NOT NULL, fields TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "program" VALUES('a75fe5caa40eb5f6','573d4fec9390ae47','{"code":"1","cpu_flags":"avx2 fma","device":"cpu","flax":"1","jax":"another","jax_config":"1","jaxlib":"1","lanes":"1","numpy":"1","optax":"1","optimization":"1","python":"3.11.0","threads":"1","xla_flags":"1"}');
INSERT INTO "program" VALUES('e6a3be831d174912','fbe0f4ef0061c9e5','{"code":"1","cpu_flags":"avx2 fma","device":"cpu","flax":"1","jax":"1","jax_config":"1","jaxlib":"1","lanes":"1","numpy":"1","optax":"1","optimization":"1","python":"3.11.0","threads":"1","xla_flags":"1"}');
CREATE TABLE sample (
        trial TEXT NOT NULL, software TEXT NOT NULL, shape TEXT NOT NULL, numbers BLOB NOT NULL,
        PRIMARY KEY (trial, software)
    ) WITHOUT ROWID;
INSERT INTO "sample" VALUES('216e23747f477585','fbe0f4ef0061c9e5','[1,2,2]',X'6CBF003E7F4607BEBDF2233FDFD5D63D');
CREATE TABLE spec (
        digest TEXT PRIMARY KEY, plan TEXT NOT NULL, sources TEXT NOT NULL, own_code TEXT NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "spec" VALUES('ed20867591f2e823','{"added_seeds":{},"added_studies":{},"contenders":[{"batch_size":null,"choices":{},"draw":0,"further":[],"is_own":false,"label":"sgd","levels":{},"optimizer":"sgd","order":null,"points":[[{"learning_rate":0.001},{}],[{"learning_rate":1.0},{}]],"schedule":"constant","space":{"learning_rate":{"high":1.0,"low":0.001,"scale":"log"}},"static":{},"stopping":null,"tuned_choices":[],"undrawn":0},{"batch_size":null,"choices":{},"draw":0,"further":[],"is_own":false,"label":"adam","levels":{},"optimizer":"adam","order":null,"points":[[{"learning_rate":0.001},{}],[{"learning_rate":1.0},{}]],"schedule":"constant","space":{"learning_rate":{"high":1.0,"low":0.001,"scale":"log"}},"static":{},"stopping":null,"tuned_choices":[],"undrawn":0}],"evaluations":2,"expand":false,"expansions":[],"max_seeds":null,"max_studies":null,"name":"synthetic","probes":{},"problems":[{"allowances":{},"amount":null,"axis":"steps","batch_size":8,"choices":{},"data":"dddddddddddddddd","data_source":"made up","description":"a bowl","diverged_above":null,"examples":[0,0,0],"is_own":false,"judged_on":"test","ladder":[],"leaks":[],"made_by":"","margin":null,"metric":"error","metrics":{"error":{"direction":"lower","floor":null,"label":"error","least":null,"most":null,"scale":"linear"}},"name":"bowl","order":"reshuffle","redraws_split":false,"steps":40,"target":0.1,"unseen":[]}],"programs":{},"seeds":2,"targets":{"baselines":[],"reruns":20,"shares":[0.25,0.5,0.75,1.0]},"timing":false,"trial_seconds":null,"tuner":{"batch":4,"first_study":0,"grid":{},"halving":null,"name":"halton","objective":"final","seconds":null,"studies":1},"tuning_seeds":1}','{"own.py":"text"}','["b1bfd956ae88dc35"]');
CREATE TABLE target (
        key TEXT NOT NULL, software TEXT NOT NULL, problem TEXT NOT NULL, goals TEXT NOT NULL, source TEXT NOT NULL,
        digest TEXT NOT NULL, PRIMARY KEY (key, software)
    ) WITHOUT ROWID;
INSERT INTO "target" VALUES('key','fbe0f4ef0061c9e5','bowl','[0.5,0.25]','first','d1');
CREATE TABLE timing (
        key TEXT NOT NULL, software TEXT NOT NULL, program TEXT NOT NULL, machine TEXT NOT NULL, session TEXT NOT NULL,
        timing TEXT NOT NULL, PRIMARY KEY (key, software)
    ) WITHOUT ROWID;
INSERT INTO "timing" VALUES('one','fbe0f4ef0061c9e5','e6a3be831d174912','here','cce523418897c292','{"evaluation_seconds":0.3,"failure":"","memory_bytes":null,"parameter_bytes":10,"seconds":[0.1,0.2],"state_bytes":20}');
CREATE TABLE trial (
        id TEXT NOT NULL, software TEXT NOT NULL, program TEXT NOT NULL, identity TEXT NOT NULL, status TEXT NOT NULL,
        reason TEXT NOT NULL, traceback TEXT NOT NULL, diverged_at INTEGER, seconds REAL NOT NULL,
        compile_seconds REAL NOT NULL, validation TEXT NOT NULL, steps BLOB NOT NULL,
        gradient_evaluations INTEGER NOT NULL, value_evaluations INTEGER NOT NULL,
        hvp_evaluations INTEGER NOT NULL, restored_at INTEGER, gradients BLOB,
        PRIMARY KEY (id, software)
    ) WITHOUT ROWID;
INSERT INTO "trial" VALUES('216e23747f477585','fbe0f4ef0061c9e5','e6a3be831d174912','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":0.001},"optimizer":{"name":"adam","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":1,"stage":"final","steps":40}','finished','','',NULL,0.25,0.5,'{"error":0.5299812957272405}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
INSERT INTO "trial" VALUES('3e95ee152aadb82c','573d4fec9390ae47','a75fe5caa40eb5f6','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":0.001},"optimizer":{"name":"sgd","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":0,"stage":"final","steps":40}','finished','','',NULL,7.0,0.5,'{"error":0.8416666666666667}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
INSERT INTO "trial" VALUES('3e95ee152aadb82c','fbe0f4ef0061c9e5','e6a3be831d174912','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":0.001},"optimizer":{"name":"sgd","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":0,"stage":"final","steps":40}','finished','','',NULL,0.25,0.5,'{"error":0.8416666666666667}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
INSERT INTO "trial" VALUES('7e326cc051b51117','fbe0f4ef0061c9e5','e6a3be831d174912','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":0.001},"optimizer":{"name":"adam","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":0,"stage":"tuning","steps":40}','finished','','',NULL,0.25,0.5,'{"error":0.5262471423663994}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
INSERT INTO "trial" VALUES('9faba7c4603a9c87','fbe0f4ef0061c9e5','e6a3be831d174912','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":1.0},"optimizer":{"name":"adam","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":0,"stage":"tuning","steps":40}','finished','','',NULL,0.25,0.5,'{"error":0.5262471423663994}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
INSERT INTO "trial" VALUES('a697a891571677df','fbe0f4ef0061c9e5','e6a3be831d174912','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":0.001},"optimizer":{"name":"adam","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":0,"stage":"final","steps":40}','finished','','',NULL,0.25,0.5,'{"error":0.5262471423663994}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
INSERT INTO "trial" VALUES('b1305388db439e57','fbe0f4ef0061c9e5','e6a3be831d174912','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":1.0},"optimizer":{"name":"sgd","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":0,"stage":"tuning","steps":40}','finished','','',NULL,0.25,0.5,'{"error":0.8416666666666667}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
INSERT INTO "trial" VALUES('cb5b611babd52ac5','fbe0f4ef0061c9e5','e6a3be831d174912','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":0.001},"optimizer":{"name":"sgd","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":0,"stage":"tuning","steps":40}','finished','','',NULL,0.25,0.5,'{"error":0.8416666666666667}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
INSERT INTO "trial" VALUES('f2ba7ac959f0995e','fbe0f4ef0061c9e5','e6a3be831d174912','{"early_stopping":null,"evaluations":2,"hyperparameters":{"learning_rate":0.001},"optimizer":{"name":"sgd","static":{}},"probes":[],"problem":{"batch_size":8,"choices":{},"data":"dddddddddddddddd","diverged_above":null,"made_by":"","name":"bowl","order":"reshuffle"},"schedule":"constant","seed":1,"stage":"final","steps":40}','finished','','',NULL,0.25,0.5,'{"error":0.8693148526960823}',X'000000000000000014000000000000002800000000000000',40,0,0,NULL,X'000000000000000000000000000044400000000000005440');
COMMIT;
