//! What making a component of C# promises beyond what every language does: the same bytes from the same sources, and projects with NuGet
//! packages where a .NET SDK is installed. It needs the tools for C#, of which one is such an SDK.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use recoil_base::{Clock, Digest};
use recoil_cluster_tests::{program, root};
use recoil_conformance::{Rows, is_available, transaction};
use recoil_engine::{AppLog, AppLogOptions, Engine, EngineOptions, Environment, Limits};

const HANDLER: &str = "public byte[] Handle(Recoil.Transaction transaction, byte[] request) => request;";
/// Where the template has room for packages.
const NO_PACKAGES: &str = "<!-- <PackageReference Include=\"NAME\" Version=\"1.0.0\" /> -->";

/// Makes a package in a folder, with one source.
fn package(folder: &Path, source: &str) -> PathBuf {
    let made = Author::alone().run(folder, &["new", "sample", "--lang", "csharp"]);
    assert!(made.is_ok(), "{made:?}");
    let package = folder.join("sample");
    for part in ["src", "tests"] {
        std::fs::remove_dir_all(package.join(part)).unwrap();
        std::fs::create_dir(package.join(part)).unwrap();
    }
    std::fs::write(package.join("src/Sample.cs"), source).unwrap();
    // One that exports its handler only.
    let manifest = std::fs::read_to_string(package.join("recoil.toml")).unwrap();
    let (before, after) = (manifest.find("[[listener]]").unwrap(), manifest.find("[[setting]]").unwrap());
    std::fs::write(package.join("recoil.toml"), [&manifest[..before], &manifest[after..]].concat()).unwrap();
    package
}

/// Who runs recoilctl.
struct Author {
    /// What is set in the environment, beside what the test has.
    environment: Vec<(&'static str, String)>,
}

impl Author {
    /// On a machine as it is.
    fn alone() -> Self {
        Author { environment: Vec::new() }
    }

    /// With the .NET SDK installed that the tools have, and a home in that folder; NuGet keeps its packages there.
    fn with_sdk(home: &Path) -> Self {
        let tools = Command::new("sh").arg(root().join("sdk/csharp/build.sh")).arg("--tools").output().unwrap();
        assert!(tools.status.success(), "{}", String::from_utf8_lossy(&tools.stderr));
        let tools = PathBuf::from(String::from_utf8(tools.stdout).unwrap().trim_end());
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let path = format!("{}:{}", text(&tools.join("dotnet")), std::env::var("PATH").unwrap());
        let environment = vec![
            ("PATH", path),
            ("LD_LIBRARY_PATH", text(&tools.join("ssl"))),
            ("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1".into()),
            ("HOME", text(home)),
            ("NUGET_PACKAGES", text(&home.join("packages"))),
            ("RECOIL_TOOLS", text(tools.parent().unwrap())),
        ];
        Author { environment }
    }

    fn run(&self, folder: &Path, words: &[&str]) -> Result<String, String> {
        self.start(folder, program("recoilctl").as_ref(), words)
    }

    /// What it prints, as an error if it fails.
    fn start(&self, folder: &Path, program: &Path, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command.arg("900").arg(program).args(words).current_dir(folder).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("it runs");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        if output.status.success() { Ok(said) } else { Err(said) }
    }
}

/// The answer of an instance of a package that was built.
fn ask(package: &Path, request: &[u8]) -> Result<String, String> {
    let archive = std::fs::read(package.join("sample.wasm")).unwrap();
    let manifest = recoil_package::read(&archive).unwrap();
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let code = engine.load(Digest::of(&archive), &archive, &manifest.permissions).unwrap();
    let log = AppLog::new(Clock::system(), AppLogOptions::default());
    let environment =
        Environment { app: "sample".into(), log, limits: Limits::default(), settings: Default::default() };
    let (_, answer) = code.new_handler(environment).unwrap().handle(transaction(&Arc::new(Rows::default())), request);
    let answer = answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    answer.map_err(|error| error.to_string())
}

fn assert_says(said: &str, expected: &[&str]) {
    for words in expected {
        assert!(said.contains(words), "'{words}' is not in: {said}");
    }
}

#[test]
fn the_same_sources_make_the_same_bytes_wherever_they_lie() {
    if !is_available("csharp") {
        return;
    }
    let source = format!(
        "public sealed class Sample : Recoil.IHandler, Recoil.IRehearsed {{ {HANDLER}
            static readonly System.Random random = new System.Random();
            static readonly System.Guid guid = System.Guid.NewGuid();
            static readonly int hash = System.HashCode.Combine(guid, random.Next(), System.DateTime.Now, \"a\".GetHashCode());
            public static string Path([System.Runtime.CompilerServices.CallerFilePath] string path = \"\") => path;
            public void Rehearse() => Path(); }}"
    );
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    // Without a project, the pinned compiler is the one.
    for (author, has_project) in [(Author::alone(), false), (Author::with_sdk(&home), true)] {
        let archives = ["here", "there with blanks"].map(|place| {
            let place = tempfile::Builder::new().prefix(place).tempdir_in(folder.path()).unwrap();
            let package = package(place.path(), &source);
            if !has_project {
                std::fs::remove_file(package.join("Package.csproj")).unwrap();
            }
            let built = author.run(&package, &["build"]).unwrap_or_else(|said| panic!("{said}"));
            let compiler =
                if has_project { "Package.csproj with the .NET SDK" } else { "src/ with the pinned C# 8 compiler" };
            assert_says(&built, &["compiling", compiler]);
            std::fs::read(package.join("sample.wasm")).unwrap()
        });
        assert!(archives[0] == archives[1], "{} and {} bytes", archives[0].len(), archives[1].len());
    }
}

/// Where the project `Prose` is, of which the package of that name is made, with the package `Verse` that it refers to; and the feed.
fn feed(folder: &Path, author: &Author) {
    for (name, reference, source) in [
        ("Verse", "", "public static class Verse { public static string Of(string text) => text + \", \" + text; }"),
        (
            "Prose",
            "<ProjectReference Include=\"../Verse/Verse.csproj\" />",
            "public static class Prose {
                public static string Of(string text) => new System.Xml.Linq.XElement(\"p\", Verse.Of(text)).ToString();
                public static int Measure(string text) => measure(text);
                [System.Runtime.InteropServices.DllImport(\"prosody\")] private static extern int measure(string text); }",
        ),
    ] {
        let project = folder.join(name);
        std::fs::create_dir_all(&project).unwrap();
        let text = format!(
            "<Project Sdk=\"Microsoft.NET.Sdk\"><PropertyGroup><TargetFramework>netstandard2.1</TargetFramework>
            <Version>1.2.0</Version><PackageOutputPath>../feed</PackageOutputPath><GeneratePackageOnBuild>true</GeneratePackageOnBuild>
            </PropertyGroup><ItemGroup>{reference}</ItemGroup></Project>"
        );
        std::fs::write(project.join(format!("{name}.csproj")), text).unwrap();
        std::fs::write(project.join(format!("{name}.cs")), source).unwrap();
    }
    std::fs::write(
        folder.join("nuget.config"),
        "<configuration><packageSources><clear /><add key=\"feed\" value=\"feed\" /></packageSources></configuration>",
    )
    .unwrap();
    std::fs::create_dir_all(folder.join("feed")).unwrap();
    let words = ["build", "Prose/Prose.csproj", "-nodeReuse:false", "-p:UseSharedCompilation=false"];
    let made = author.start(folder, "dotnet".as_ref(), &words);
    assert!(made.is_ok(), "{made:?}");
    for name in ["Prose", "Verse"] {
        assert!(folder.join("feed").join(format!("{name}.1.2.0.nupkg")).is_file(), "{made:?}");
    }
}

#[test]
fn an_installed_sdk_builds_and_tests_a_project_with_nuget_packages() {
    if !is_available("csharp") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let author = Author::with_sdk(&folder.path().join("home"));
    feed(folder.path(), &author);
    let source = "using System.Text;
        public sealed class Sample : Recoil.IHandler {
            public byte[] Handle(Recoil.Transaction transaction, byte[] request) {
                string text = Encoding.UTF8.GetString(request);
                return Encoding.UTF8.GetBytes(text == \"measure\" ? Prose.Measure(text).ToString() : Prose.Of(text));
            }
        }";
    let package = package(folder.path(), source);
    std::fs::write(
        package.join("tests/SampleTests.cs"),
        "using System.Text; using Recoil.Fake; using Recoil.Testing;
        public sealed class SampleTests {
            [Test] public void ItSpeaksProse() => Assert.Equal(\"<p>pear, pear</p>\",
                Encoding.UTF8.GetString(new FakePartition().Read(new Sample(), Encoding.UTF8.GetBytes(\"pear\"))));
        }",
    )
    .unwrap();
    let project = package.join("Package.csproj");
    let text = std::fs::read_to_string(&project).unwrap();
    assert!(text.contains(NO_PACKAGES), "{text}");
    let with = |packages: &str| std::fs::write(&project, text.replace(NO_PACKAGES, packages)).unwrap();
    let prose = "<PackageReference Include=\"Prose\" Version=\"1.2.0\" />";

    with(prose);
    let tested = author.run(&package, &["test"]).unwrap_or_else(|said| panic!("{said}"));
    assert_says(&tested, &["compiling Package.csproj with the .NET SDK 3.1.", "ok      SampleTests.ItSpeaksProse"]);
    let built = author.run(&package, &["build"]).unwrap_or_else(|said| panic!("{said}"));
    assert_says(
        &built,
        &["compiling Package.csproj with the .NET SDK 3.1.", "Prose.dll calls the native library prosody"],
    );
    assert!(!package.join("obj").exists() && !package.join("bin").exists(), "what builds write lies in target/");
    assert_eq!(ask(&package, b"pear"), Ok("<p>pear, pear</p>".to_owned()));
    assert_says(&ask(&package, b"measure").unwrap_err(), &["System.DllNotFoundException", "prosody"]);

    let source_at = package.join("src/Sample.cs");
    let fails = |author: &Author, expected: &[&str]| {
        let said = author.run(&package, &["build"]).expect_err("a mistake");
        assert_says(&said, expected);
    };
    std::fs::write(&source_at, source.replace("Prose.Of(text)", "Prose.Off(text)")).unwrap();
    fails(&author, &["src/Sample.cs(5,", "error CS0117: 'Prose'", "'Off'", "the sources do not compile"]);
    std::fs::write(&source_at, source).unwrap();
    with("<PackageReference Include=\"Poetry\" Version=\"1.0.0\" />");
    fails(&author, &["error NU1101: Unable to find package Poetry", "the sources do not compile"]);

    // What the pinned compiler cannot do, and why it is asked.
    std::fs::write(&project, text.replace(NO_PACKAGES, prose).replace("Recoil.targets", "Other.targets")).unwrap();
    let unknown = ["error CS0103: The name 'Prose'", "What a project refers to takes a .NET SDK"];
    fails(&author, &[&["no project in this folder imports Recoil.targets"], &unknown[..]].concat());
}
